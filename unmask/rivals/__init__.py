"""Systems to compare with, under one signature: `load_system(name, weights)(image, hole)`.

Four published rivals (Figures 7 and 8 of the paper) and this package's two presets. Their weights
are their authors' and do not ship; small trainings of our own (`unmask train rivals/NAME`) stand in
for them. Networks are imported when one is loaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from unmask.errors import SettingError, WeightsError

if TYPE_CHECKING:
    from unmask.rivals.completion import Complete


@dataclass(frozen=True)
class System:
    """A system that completes faces.

    Attributes:
        name: What commands and folders call it.
        title: What figures call it.
        files: Patterns of the published files that its folder has to hold; alternatives, of which
            one is enough.
        source: Where the files come from, and under which terms.
        module: Of the rivals: where the network, its converter and its `load` are.
        samples: How many results a figure shows of it, by their seeds.
        recipe: What trains it small.
    """

    name: str
    title: str
    files: tuple[tuple[str, ...], ...]
    source: str
    module: str = ""
    samples: int = 1
    recipe: str = ""


KEPT = "inpainting.safetensors"
"""What a small training keeps, in its run folder."""

_NON_COMMERCIAL = "CC BY-NC 4.0"
_ALL = (
    System("lite", "ours, lite", (), "this package"),
    System("paper", "ours, paper", (), "this package"),
    System(
        "deepfill2",
        "DeepFill v2",
        (("*.index", "*.data-*"), ("states_tf_*.pth",)),
        f"https://github.com/JiahuiYu/generative_inpainting, CelebA-HQ ({_NON_COMMERCIAL})",
        "unmask.rivals.deepfill2",
        recipe="rivals/deepfill2",
    ),
    System(
        "pluralistic",
        "Pluralistic",
        (("latest_net_E.pth", "latest_net_G.pth"),),
        f"https://github.com/lyndonzheng/Pluralistic-Inpainting, CelebA-HQ ({_NON_COMMERCIAL})",
        "unmask.rivals.pluralistic",
        samples=3,
        recipe="rivals/pluralistic",
    ),
    System(
        "edgeconnect",
        "EdgeConnect",
        (("EdgeModel_gen.pth", "InpaintingModel_gen.pth"),),
        f"https://github.com/knazeri/edge-connect, CelebA ({_NON_COMMERCIAL})",
        "unmask.rivals.edgeconnect",
        recipe="rivals/edgeconnect",
    ),
    System(
        "aot",
        "AOT-GAN",
        (("G*.pt",),),
        "https://github.com/researchmm/AOT-GAN-for-Inpainting, CelebA-HQ",
        "unmask.rivals.aot",
        recipe="rivals/aot-gan",
    ),
    System("lafin", "the paper's generator", (), "this package", recipe="rivals/lafin"),
)

SYSTEMS: Mapping[str, System] = MappingProxyType({system.name: system for system in _ALL})
"""The known systems by name."""


def get_system(name: str) -> System:
    """Return a system by its name.

    Raises:
        SettingError: There is none of that name.

    Example:
        >>> get_system("deepfill2").title
        'DeepFill v2'
    """
    if name not in SYSTEMS:
        raise SettingError(
            f"unknown system; the known ones are {', '.join(SYSTEMS)}. Received: system={name!r}"
        )
    return SYSTEMS[name]


def load_system(name: str, weights: str | Path | None = None) -> Complete:
    """Load a system.

    Args:
        name: One of `SYSTEMS`.
        weights: Folder that holds a folder a rival, named like it, with the published files as
            they are, or what `unmask train` made of its recipe. "lite" needs none; "paper" takes
            the folder's `manifest.toml` where it has one, else this package's weights.

    Returns:
        A function `complete(image, hole, landmarks=None, *, seed=0)` from an (H, W, 3) uint8 RGB
        image and an (H, W) bool hole to the completed image; known pixels stay as they are.

    Raises:
        MissingPackageError: A file is a PyTorch file, and PyTorch is not installed.
        SettingError: The name is unknown.
        WeightsError: The files are missing or cannot be used; the message says where they come
            from.

    Example:
        >>> import numpy as np
        >>> complete = load_system("lite")
        >>> image, hole = np.zeros((256, 256, 3), np.uint8), np.zeros((256, 256), bool)
        >>> complete(image, hole).shape
        (256, 256, 3)
    """
    system, small = get_system(name), small_training(name, weights)
    if small is not None:
        from unmask.rivals.trained import load

        return load(name, small)
    folder = _folder(system, weights)
    if not system.recipe:
        return importlib.import_module("unmask.rivals.ours").load(name, folder)
    if folder is None or not _holds(folder, system.files):
        wanted = [" and ".join(names) for names in system.files]
        wanted.append(f"{KEPT} of `unmask train {system.recipe}`")
        place = folder or f"the folder of weights, {name}/"
        raise WeightsError(
            f"{system.title}: {' or '.join(wanted)} not in {place}. From {system.source}"
        )
    return importlib.import_module(system.module).load(folder)


def small_training(name: str, weights: str | Path | None = None) -> Path | None:
    """Return the kept file of a small training, where `load_system` would use one.

    Published files go before it.
    """
    system = get_system(name)
    folder = _folder(system, weights)
    if folder is None or not system.recipe or _holds(folder, system.files):
        return None
    return folder / KEPT if (folder / KEPT).is_file() else None


def _folder(system: System, weights: str | Path | None) -> Path | None:
    if weights is None:
        return None
    if system.recipe:
        return Path(weights) / system.name
    own = system.name == "lite" or not (Path(weights) / "manifest.toml").is_file()
    return None if own else Path(weights)


def _holds(folder: Path, alternatives: tuple[tuple[str, ...], ...]) -> bool:
    return any(all(any(folder.glob(pattern)) for pattern in patterns) for patterns in alternatives)
