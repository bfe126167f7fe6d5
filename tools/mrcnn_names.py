"""Compare matterport's public names with those here, and write the result into `docs/mrcnn.md`.

Usage: `python -m tools.mrcnn_names` from the top of the checkout, after the package or the list,
`tools/matterport_names.txt`, has changed. A name must be here with its arguments in their order, or
the list must say why it is not.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from unmask.io import write_text_atomic

_ROOT = Path(__file__).parent.parent
_LIST = Path(__file__).with_name("matterport_names.txt")
_PAGE = _ROOT / "docs" / "mrcnn.md"
_BEGIN, _END = (
    "<!-- names: written by `python -m tools.mrcnn_names` -->\n",
    "<!-- end of names -->\n",
)
_WITHOUT = "no: "


class Name(NamedTuple):
    """One of matterport's names.

    Attributes:
        path: Module, class and name, such as "utils.Dataset.prepare".
        arguments: In their order; None for what is not called.
        note: How it differs, or why it is not here; empty if it is the same.
    """

    path: str
    arguments: list[str] | None
    note: str

    @property
    def here(self) -> bool:
        """Whether the list claims that the name exists."""
        return not self.note.startswith(_WITHOUT)


def read_names() -> Iterator[Name]:
    """Yield the names of the list."""
    for line in _LIST.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        call, _, note = line.partition(" | ")
        path, bracket, rest = call.partition("(")
        arguments = rest.rstrip(")").split(", ") if bracket else None
        yield Name(path, arguments, note)


def fault(name: Name) -> str | None:
    """Return what the list says wrongly about a name, or None."""
    module, *parts = name.path.split(".")
    found: Any = import_module(f"unmask.mrcnn.{module}")
    for part in parts:
        owner, found = found, getattr(found, part, None)
        if found is None and inspect.isclass(owner) and f"self.{part}" in inspect.getsource(owner):
            found = inspect.Parameter.empty  # an attribute that objects get when they are made
    if not name.here:
        return None if found is None else f"{name.path} is here"
    if found is None:
        # A setting may be None.
        return None if part in vars(owner) else f"{name.path} is not here"
    if name.arguments is None:
        return None
    ours = list(inspect.signature(found).parameters)[: len(name.arguments)]
    return None if ours == name.arguments else f"{name.path} takes {ours}, not {name.arguments}"


def table() -> str:
    """Return the section of the page: what is the same, what differs, what is not here."""
    names = list(read_names())
    faults = [text for text in map(fault, names) if text]
    if faults:
        raise ValueError("tools/matterport_names.txt: " + "; ".join(faults))
    here = sum(name.here for name in names)
    lines = [_BEGIN, f"Of {len(names)} public names {here} are here.\n"]
    for module in dict.fromkeys(name.path.split(".")[0] for name in names):
        own = [name for name in names if name.path.startswith(f"{module}.")]
        same = [f"`{_short(name)}`" for name in own if not name.note]
        lines.append(f"**`{module}`**" + (f", the same: {', '.join(same)}.\n" if same else "\n"))
        noted = [name for name in own if name.note]
        if noted:
            lines += ["| name | differs |", "|---|---|"]
            lines += [f"| `{_short(n)}` | {_verdict(n)} |" for n in noted]
            lines.append("")
    return "\n".join([*lines, _END])


def page(text: str) -> str:
    """Return the page with a new section."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + table() + after


def _short(name: Name) -> str:
    return name.path.partition(".")[2]


def _verdict(name: Name) -> str:
    return name.note if name.here else f"not here: {name.note.removeprefix(_WITHOUT)}"


if __name__ == "__main__":
    write_text_atomic(_PAGE, page(_PAGE.read_text(encoding="utf-8")))
