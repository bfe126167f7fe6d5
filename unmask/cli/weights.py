"""`unmask weights`: what the weight files are, where they are, and whether they are intact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from unmask.cli.arguments import ExistingDirectory
from unmask.cli.progress import report

if TYPE_CHECKING:
    from unmask.weights import WeightFile


def weights(
    action: Literal["list", "verify", "path"],
    /,
    *,
    folder: Annotated[ExistingDirectory | None, Parameter(name="--dir")] = None,
) -> int:
    """List or verify the weight files.

    The exit status is 1 if a file is missing or altered.

    Args:
        action: list: what the manifest names; verify: compare sizes and SHA-256 sums; path: print
            the folder.
        folder: Folder with manifest.toml. Default: the shipped one.
    """
    from unmask.weights import default_weights_dir, read_manifest

    if action == "path":
        print(folder or default_weights_dir())
        return 0
    entries = read_manifest(folder)
    if action == "verify":
        return _verify(entries)
    for entry in entries:
        print(f"{_name(entry):28} {entry.size / 1e6:6.1f} MB  {entry.licence}")
    total = sum(entry.size for entry in entries)
    print(f"{len(entries)} files, {total / 1e6:.1f} MB")
    return 0


def _verify(entries: list[WeightFile]) -> int:
    from unmask.errors import WeightsError
    from unmask.weights import verify

    failed = 0
    for entry in entries:
        try:
            verify(entry)
        except WeightsError as error:
            failed += 1
            report(error)
        else:
            print(f"{_name(entry):28} ok")
    return 1 if failed else 0


def _name(entry: WeightFile) -> str:
    return f"{entry.preset}/{entry.stage}"
