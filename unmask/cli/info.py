"""`unmask info`: versions, backend, presets, and which weights are present."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from pathlib import Path

# Distributions that answer for a module; the first one that is installed is named.
_PACKAGES = (
    ("tensorflow", "tensorflow-cpu"),
    ("jax",),
    ("keras",),
    ("keras-tuner",),
    ("opencv-python", "opencv-python-headless"),
    ("scikit-image",),
    ("numpy",),
    ("pandas",),
    ("ray",),
    ("labelme",),
)


def info() -> None:
    """Print versions, backend, presets and weights: what a bug report should have."""
    from unmask._version import __version__
    from unmask.weights import default_weights_dir

    _line("unmask", __version__)
    _line("python", f"{platform.python_version()}, {platform.platform()}")
    for names in _PACKAGES:
        _line(names[0], _installed(names))
    _line("backend", _backend())
    _line("weights", str(default_weights_dir()))
    for line in _presets():
        print(line)


def _line(name: str, text: str) -> None:
    print(f"{name:14} {text}")


def _installed(names: tuple[str, ...]) -> str:
    for name in names:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return version if name == names[0] else f"{version} ({name})"
    return "not installed"


def _backend() -> str:
    """Tell which backend Keras will take, by its own rule, without loading either."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        configured = json.loads((home / "keras.json").read_text(encoding="utf-8"))["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        configured = "tensorflow"
    return os.environ.get("KERAS_BACKEND") or str(configured)


def _presets() -> list[str]:
    from unmask.presets import PRESETS
    from unmask.weights import read_manifest

    present = {(e.preset, e.stage) for e in read_manifest() if e.path.is_file()}
    lines = []
    for preset in PRESETS.values():
        lines.append(f"preset {preset.name}")
        for stage in (*preset.files, *preset.helpers):
            there = "present" if (preset.name, stage) in present else "no weights"
            alone = ", for training alone" if stage in preset.helpers else ""
            lines.append(f"  {stage:18} {there}{alone}")
    return lines
