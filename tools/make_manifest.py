"""Write `weights/manifest.toml` for the weight files that are there.

Usage: `python -m tools.make_manifest [WEIGHTS_DIR]` from the top of the checkout.
"""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors import safe_open

from unmask.errors import WeightsError
from unmask.io import write_text_atomic
from unmask.weights import default_weights_dir, file_sha256, read_manifest

# The recipes of files from before the runner noted them in the metadata.
_RECIPES = {"inpainting_male": "inpainting", "inpainting_female": "inpainting"}
# What the training data allows; a file can say otherwise in its own metadata ("licence").
_LICENCE = "non-commercial research use only, like the training data (see the card)"
_HEADER = "# Written by `python -m tools.make_manifest`.\n"


def write_manifest(folder: Path) -> int:
    """Write the manifest of `folder` and return the number of its entries.

    Raises:
        WeightsError: A weight file has no card.
    """
    files = sorted(folder.glob("*/*.safetensors"))
    blocks = [_block(folder, path) for path in files]
    write_text_atomic(folder / "manifest.toml", "\n".join([_HEADER, *blocks]))
    return len(read_manifest(folder))


def _block(folder: Path, path: Path) -> str:
    card = path.with_suffix(".md")
    if not card.is_file():
        raise WeightsError(f"{path}: has no card {card.name} beside it")
    with safe_open(str(path), framework="numpy") as archive:
        noted = archive.metadata() or {}
    recipe = f"{path.parent.name}/{_RECIPES.get(path.stem, path.stem)}"
    fields = {
        "preset": path.parent.name,
        "stage": path.stem,
        "path": path.relative_to(folder).as_posix(),
        "sha256": file_sha256(path),
        "size": path.stat().st_size,
        "recipe": noted.get("recipe", recipe),
        "licence": noted.get("licence", _LICENCE),
        "card": card.relative_to(folder).as_posix(),
    }
    lines = [f"{name} = {_toml(value)}" for name, value in fields.items()]
    return "\n".join(["[[file]]", *lines]) + "\n"


def _toml(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


if __name__ == "__main__":
    _folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default_weights_dir()
    print(f"{_folder / 'manifest.toml'}: {write_manifest(_folder)} files")
