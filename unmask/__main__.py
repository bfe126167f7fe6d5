"""`python -m unmask`."""

from __future__ import annotations

import sys

from unmask.cli import main

if __name__ == "__main__":
    sys.exit(main())
