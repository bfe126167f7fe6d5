"""`make fuzz`: thousands of damaged files of every kind, and a table of what became of them.

    python -m tests.fuzz [INPUTS] [KIND ...]

Whatever is neither accepted nor refused with an error of `unmask.errors` is a failure: another
error, a crash, memory beyond 3 GB, more than 20 s. The number of a failure makes its input again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.fuzz.drive import Outcome, can_open, fuzz
from tests.fuzz.kinds import KINDS


def main(arguments: Sequence[str]) -> int:
    """Print the table; the exit status is 1 if there was a failure."""
    inputs = int(arguments[0]) if arguments else 20_000
    kinds = [kind for kind in KINDS if not arguments[1:] or kind.name in arguments[1:]]
    print(f"| {'kind':12} | inputs | refused | accepted | failures |\n|---|---:|---:|---:|---:|")
    total = Outcome()
    there = [kind for kind in kinds if can_open(kind)]
    for kind in kinds:
        found = fuzz(kind, -(-inputs // len(there)))
        total += found
        print(
            f"| {kind.name:12} {_row(found)}"
            if found.inputs
            else f"| {kind.name:12} | skipped, needs {kind.needs[0]}"
        )
        for failure in found.failures[:10]:
            print(f"    {failure}")
        sys.stdout.flush()
    print(f"| {'all':12} {_row(total)}")
    return 1 if total.failures else 0


def _row(found: Outcome) -> str:
    return (
        f"| {found.inputs:6} | {found.refused:7} | {found.accepted:8} | {len(found.failures):8} |"
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
