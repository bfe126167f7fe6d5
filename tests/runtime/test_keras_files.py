"""Networks saved as `.keras` files are the same networks in another process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import keras
import numpy as np
import pytest

import unmask.layers
from unmask.gender.lite import build_lite as build_gender
from unmask.gender.paper import build_classifier
from unmask.inpainting.lite import build_coarse, build_detail_discriminator
from unmask.inpainting.lite import build_generator as build_lite_generator
from unmask.inpainting.paper import build_discriminator, build_generator
from unmask.landmarks.lite import build_lite as build_landmarks
from unmask.landmarks.paper import build_fan
from unmask.parsing.lite import build_parser
from unmask.presets import PRESETS
from unmask.rivals import aot, deepfill2, edgeconnect
from unmask.segmentation.detector import build_detector
from unmask.segmentation.lite import build_unet, build_verifier

pytestmark = pytest.mark.slow

_FIVE = {"widths": (16,) * 5, "blocks": (1,) * 5}

# Every network of a preset, in toy sizes, by preset and stage; the others by their place.
NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "lite/segmentation": lambda: build_unet(**_FIVE),
    "lite/loops": lambda: build_unet(**_FIVE, channels=4),
    "lite/verifier": lambda: build_verifier((8, 8), (1, 1)),
    "lite/landmarks": lambda: build_landmarks(4, 16, 2, 64),
    "lite/gender": lambda: build_gender(widths=(8, 8), blocks=(1, 1)),
    "lite/parsing": lambda: build_parser(**_FIVE),
    "lite/coarse": lambda: build_coarse(8, (1, 1, 1)),
    "lite/inpainting": lambda: build_lite_generator(8, 1),
    # Of ResNet-50's layers the small Mask R-CNN has all kinds.
    "paper/segmentation": lambda: build_detector(128).keras_model,
    "paper/landmarks": lambda: build_fan(2, 4, 16, 2, 64),
    "paper/gender": lambda: build_classifier(units=8, hidden=8, size=75),
    "paper/inpainting": lambda: build_generator(8, 1),
    "inpainting/discriminator": lambda: build_discriminator(8),
    "inpainting/detail_discriminator": lambda: build_detail_discriminator(8),
    "inpainting/aot": lambda: aot.build_aot_variant(8, 1),
    "rivals/deepfill2": lambda: deepfill2.build_generator(8),
    "rivals/edgeconnect": lambda: edgeconnect.build_edge_generator(8, 1),
    "rivals/aot": lambda: aot.build_aot_generator(8, 1),
}

_CODE = """
import sys
from pathlib import Path
import numpy as np
import keras
import unmask.layers

for path in sorted(Path(sys.argv[1]).glob("*.keras")):
    try:
        model = keras.saving.load_model(path)
        with np.load(path.with_suffix(".npz")) as given:
            inputs = [given[f"in{i}"] for i in range(len(model.inputs))]
            wanted = [given[f"out{i}"] for i in range(len(model.outputs))]
        outputs = keras.tree.flatten(model(inputs if len(inputs) > 1 else inputs[0]))
        # float32 rounds large answers more coarsely.
        pairs = [(np.asarray(o), w) for o, w in zip(outputs, wanted)]
        worst = max(float(np.abs(o - w).max() / max(1, np.abs(w).max())) for o, w in pairs)
        print(path.stem, worst)
    except Exception as error:
        print(path.stem, type(error).__name__, str(error).replace("\\n", " ")[:300])
"""


def test_every_network_of_every_preset_is_here() -> None:
    stages = {
        f"{name}/{stage.partition('_')[0]}"  # one for both genders
        for name, preset in PRESETS.items()
        for stage in (*preset.networks, *preset.helpers)
    }
    assert stages <= set(NETWORKS)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Save all networks, load them in one other process, and return what it says of each."""
    folder = tmp_path_factory.mktemp("keras")
    for name, build in NETWORKS.items():
        keras.backend.clear_session()
        model = build()
        rng = np.random.default_rng(0)
        # No value is that of a new network, be it a constant or from a fixed seed.
        for variable in model.variables:
            change = rng.uniform(0.01, 0.05, variable.shape).astype(np.float32)
            variable.assign(variable * (1 + change) + (change if change.ndim < 2 else 0))
        inputs = [_input(tensor.shape, rng) for tensor in model.inputs]
        outputs = keras.tree.flatten(model(inputs if len(inputs) > 1 else inputs[0]))
        arrays = {f"in{i}": value for i, value in enumerate(inputs)}
        arrays |= {f"out{i}": np.asarray(value) for i, value in enumerate(outputs)}
        path = folder / f"{name.replace('/', '-')}.keras"
        model.save(path)
        np.savez(path.with_suffix(".npz"), **arrays)
    words = [sys.executable, "-c", _CODE, str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def _input(shape: tuple[int | None, ...], rng: np.random.Generator) -> np.ndarray:
    unknown = 64 if len(shape) == 4 else 1023  # an image's side, or a Mask R-CNN's anchors
    return rng.random([1, *(side or unknown for side in shape[1:])]).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_saved_network_answers_alike(answers: dict[str, str], name: str) -> None:
    assert float(answers[name.replace("/", "-")]) <= 1e-5


def test_unmask_layers_has_all_of_them() -> None:
    registered = {
        cls.__name__
        for key, cls in keras.saving.get_custom_objects().items()
        if key.startswith("unmask>") and issubclass(cls, keras.layers.Layer)
    }
    assert registered == {
        name for name, value in vars(unmask.layers).items() if isinstance(value, type)
    }
