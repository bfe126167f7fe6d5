"""`unmask export`: a preset's networks for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from unmask.cli.arguments import ExistingDirectory


def export(
    form: Literal["onnx", "litert", "saved_model", "keras"],
    out: Path,
    /,
    *,
    preset: Literal["lite", "paper"] = "lite",
    weights_dir: ExistingDirectory | None = None,
) -> int:
    """Write the networks of a preset as files for other programs.

    `unmask run --weights-dir OUT` runs what `export onnx OUT` wrote, without Keras. Where
    a .keras file is loaded, `import unmask.layers` comes first.

    Args:
        form: onnx, litert (.tflite), saved_model or keras.
        out: Folder to fill: PRESET/STAGE.onnx and so on.
        preset: Which networks.
        weights_dir: Folder with the preset's manifest.toml. Default: the shipped one.
    """
    from unmask.export import export_preset

    for path in export_preset(form, out, preset=preset, weights_dir=weights_dir):
        print(path)
    return 0
