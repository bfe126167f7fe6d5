"""`unmask weights`: what the weight files are, where they are, and whether they are intact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from unmask.cli.arguments import ExistingFile
from unmask.cli.progress import report

if TYPE_CHECKING:
    from unmask.weights import WeightFile


def weights(
    action: Literal["list", "verify", "path", "add"],
    file: ExistingFile | None = None,
    /,
    *,
    folder: Annotated[Path | None, Parameter(name="--dir")] = None,
    name: Annotated[str, Parameter(name="--as")] = "",
    eight_bit: bool = False,
) -> int:
    """List or verify the weight files, or add one.

    The exit status is 1 if a file is missing or altered.

    Args:
        action: list: what the manifest names; verify: compare sizes and SHA-256 sums; path: print
            the folder; add: put FILE, what a training has kept, into a folder, with a card that is
            begun and the folder's manifest.toml.
        file: For add.
        folder: Folder with manifest.toml. Default: the shipped one, or UNMASK_WEIGHTS.
        name: For add: what the file is, for example paper/inpainting_male.
        eight_bit: For add: store 8-bit integers with a scale for each output channel.
    """
    from unmask.errors import DataError

    if (action == "add") != (file is not None) or bool(file) != bool(name):
        raise DataError("weights: add takes FILE and --as PRESET/STAGE, the others neither")
    if action != "add" and folder is not None and not folder.is_dir():
        raise DataError(f"--dir: {folder}: no such folder")
    from unmask.weights import default_weights_dir, read_manifest

    if file is not None:
        from unmask.manifest import add_weights

        folder = folder or default_weights_dir()
        print(add_weights(file, name, folder, eight_bit=eight_bit))
        return 0
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
        twin = entry.path.with_suffix(".onnx")
        # A wheel has the lite weights alone, and one without Keras none of its files.
        if not entry.path.exists() and (twin.exists() or not entry.path.parent.is_dir()):
            print(f"{_name(entry):28} not here")
            continue
        try:
            verify(entry)
        except WeightsError as error:
            failed += 1
            report(error)
        else:
            print(f"{_name(entry):28} ok")
    return 1 if failed else 0


def _name(entry: WeightFile) -> str:
    return f"{entry.preset}/{entry.stage}{'.onnx' * entry.is_onnx}"
