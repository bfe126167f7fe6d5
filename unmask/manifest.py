"""Making a folder of weights: PRESET/STAGE.safetensors or .onnx, their cards, manifest.toml."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from unmask.errors import WeightsError
from unmask.io import PathLike, write_text_atomic
from unmask.presets import PRESETS
from unmask.tables import markdown_table
from unmask.weights import code, file_sha256, load_arrays, load_metadata, save_arrays

# The recipes of files from before the runner noted them in the metadata.
_RECIPES = {"inpainting_male": "inpainting", "inpainting_female": "inpainting"}
# What the training data allows; a file can say otherwise in its own metadata ("licence").
_LICENCE = "non-commercial research use only, like the training data (see the card)"
_HEADER = "# Written by `unmask weights add`.\n"
# Metadata with a place of its own in the card, or that only a training needs.
_NOT_FIGURES = ("stage", "recipe", "overrides", "settings", "licence")


def add_weights(
    source: PathLike,
    name: str,
    folder: PathLike,
    *,
    eight_bit: bool = False,
) -> Path:
    """Put a file of weights into a folder that `Unmasker(weights_dir=...)` takes.

    A card is begun from what the training noted in the file, where none is there yet. An ONNX file
    of the same stage is of other weights and goes: `unmask export onnx` makes a new one.

    Args:
        source: What a training has kept, or a converter written.
        name: PRESET/STAGE, for example "paper/inpainting_male".
        folder: The folder; made where it is missing.
        eight_bit: Store kernels as 8-bit integers with a scale for each output channel, else the
            tensors as they are.

    Returns:
        The new file.

    Raises:
        WeightsError: No preset has such a stage, or `source` is no safetensors file.

    Example:
        >>> add_weights("runs/male/inpainting.safetensors", "paper/inpainting_male", "my_weights")
        ... # doctest: +SKIP
        PosixPath('my_weights/paper/inpainting_male.safetensors')
    """
    preset, _, stage = name.partition("/")
    known = [f"{p.name}/{s}" for p in PRESETS.values() for s in (*p.files, *p.helpers)]
    if name not in known:
        raise WeightsError(f"unknown weights; known are {', '.join(known)}. Received: {name!r}")
    arrays, metadata = load_arrays(source)
    if eight_bit:
        coded = [code(key, np.asarray(value, np.float32)) for key, value in arrays.items()]
        arrays = {key: value for part in coded for key, value in part.items()}
    target = Path(folder) / preset / f"{stage}.safetensors"
    save_arrays(target, arrays, metadata)
    target.with_suffix(".onnx").unlink(missing_ok=True)
    card = target.with_suffix(".md")
    if not card.is_file():
        write_text_atomic(card, _begun_card(name, metadata))
    write_manifest(folder)
    return target


def write_manifest(folder: PathLike) -> int:
    """Write `manifest.toml` for the weight files of a folder, and return their number.

    Raises:
        WeightsError: A file has no card beside it, or cannot be read.
    """
    files = sorted(p for p in Path(folder).glob("*/*") if p.suffix in (".safetensors", ".onnx"))
    blocks = [_block(Path(folder), path) for path in files]
    write_text_atomic(Path(folder) / "manifest.toml", "\n".join([_HEADER, *blocks]))
    return len(files)


def _block(folder: Path, path: Path) -> str:
    card = path.with_suffix(".md")
    if not card.is_file():
        raise WeightsError(f"{path}: has no card {card.name} beside it")
    noted = load_metadata(path) if path.suffix == ".safetensors" else {}
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
    # A JSON string is a TOML string too.
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
    return "\n".join(["[[file]]", *lines]) + "\n"


def _begun_card(name: str, metadata: dict[str, str]) -> str:
    recipe, overrides = metadata.get("recipe", "not noted"), metadata.get("overrides", "{}")
    figures = [(k, v) for k, v in metadata.items() if k not in _NOT_FIGURES]
    table = [markdown_table(("figure", "value"), figures)] if figures else [""]
    lines = [
        f"# {name}", "", f"Recipe `{recipe}`, with `{overrides}`.", "", *table,
        f"**Licence.** {metadata.get('licence', _LICENCE)}", "",
    ]  # fmt: skip
    return "\n".join(lines)
