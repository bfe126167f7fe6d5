"""Tables as text: CSV for programs, Markdown for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from unmask.errors import DataError


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    r"""Return rows as a CSV file, the header first.

    Example:
        >>> csv_text([("file", "split"), ("a.jpg", "val")])
        'file,split\na.jpg,val\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a CSV file with a header; it may have further columns.

    Raises:
        DataError: It cannot be read, or a column is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise DataError(f"{path}: has no column {missing[0]!r}")
    return rows


def markdown_table(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    r"""Return rows as a Markdown table.

    Example:
        >>> markdown_table(["", "IoU"], [("U-Net", "0.91")])
        '| | IoU |\n|---|---|\n| U-Net | 0.91 |\n'
    """
    lines = [_line(header), "|---" * len(header) + "|", *map(_line, rows)]
    return "".join(f"{line}\n" for line in lines)


def _line(cells: Iterable[object]) -> str:
    return "|" + "".join(f" {cell} |" if cell != "" else " |" for cell in cells)
