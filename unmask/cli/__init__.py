"""The command line: `unmask COMMAND ...`.

Every command is a module of this package with `add_parser(subparsers)`, which sets `main`, a
function from the parsed arguments to the exit status. The modules import what they need inside
`main`, so that `unmask --help` is there at once.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from unmask._version import __version__
from unmask.errors import UnmaskError

_COMMANDS = (
    "run", "demo", "train", "tune", "evaluate", "synthesize", "label", "labelme", "weights", "info",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The arguments without the program's name; those of the process when None.

    Returns:
        The exit status: 0 for success, 1 when some of the files failed (the others are done),
        2 when nothing could be done, 130 after Ctrl-C.

    Example:
        >>> main(["weights", "path"])  # doctest: +SKIP
        /usr/lib/python3/site-packages/unmask/_weights
        0
    """
    args = _parser().parse_args(argv)
    try:
        return int(args.main(args))
    except UnmaskError as error:
        print(f"unmask: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("unmask: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unmask",
        description="Complete the part of a face that a mask hides, with what is plausible there.",
    )
    parser.add_argument("--version", action="version", version=f"unmask {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        importlib.import_module(f"unmask.cli.{command}").add_parser(subparsers)
    return parser
