"""How far a command is, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def track(items: Iterable[Item], label: str, total: int | None = None) -> Iterable[Item]:
    """Yield the items, and show on a terminal how many there were.

    Args:
        items: What is worked through.
        label: What is done with them.
        total: Their number, where they have no length.

    Example:
        >>> list(track([1, 2], "counting"))
        [1, 2]
    """
    from rich.console import Console
    from rich.progress import track as shown

    console = Console(stderr=True)
    hidden = not console.is_terminal
    return shown(items, label, total, console=console, transient=True, disable=hidden)


def report(problem: object) -> None:
    """Say what is wrong with a file that the others go on without."""
    print(f"unmask: {problem}", file=sys.stderr)
