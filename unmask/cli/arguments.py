"""Types of arguments that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

FOLDERS = "face folders; one that is named twice counts twice"
"""Help for `--data` of trainings that mix collections."""


def at_least(minimum: int) -> Callable[[str], int]:
    """Return a type for `add_argument`: whole numbers from `minimum` up.

    Example:
        >>> at_least(1)("3")
        3
    """

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {minimum} up. Received: {text}"
            )
        return value

    return parse


def add_name_genders(parser: argparse.ArgumentParser, *, default: bool) -> None:
    """Add `--name-genders` and `--no-name-genders`."""
    parser.add_argument(
        "--name-genders",
        action=argparse.BooleanOptionalAction,
        default=default,
        help="let the shipped gender network name the faces of unknown gender "
        f"({'yes' if default else 'no'})",
    )


def gender_weights(args: argparse.Namespace) -> Path | None:
    """Return the file that the answer to `--name-genders` asks for."""
    from unmask.weights import find

    return find("lite", "gender").path if args.name_genders else None
