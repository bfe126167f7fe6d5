"""DeepFill v2: gated convolutions, a coarse and a refining stage, contextual attention.

Read the table of layers from top to bottom; their names are those of the published variables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from unmask.errors import WeightsError
from unmask.inference import forward
from unmask.inpainting.layers import SpectralConv2D
from unmask.io import PathLike
from unmask.rivals.completion import Complete, Paint, completer
from unmask.rivals.layers import ContextualAttention
from unmask.torch_checkpoint import (
    Loaded,
    Tensors,
    assign_tensors,
    by_module,
    read_state_dict,
    width_of,
)


def build_generator(width: int = 24) -> keras.Model:
    """Build the generator, `inpaint_net`.

    Args:
        width: Channels of the first layer after its gate; 24 as published (4,052,478 parameters).

    Returns:
        A model from `[image (B, H, W, 3) RGB in [0, 1], mask (B, H, W, 1) with 1 in the hole]` to
        a list of the refined and the coarse image, (B, H, W, 3) RGB in [0, 1], float32. H and W
        are multiples of 8. What the image holds in the hole does not matter. Inside, images are
        in [-1, 1] and channels B, G, R, as the published network was trained.

    Example:
        >>> build_generator(width=4).count_params()
        115258

    Reference:
        Yu et al., Free-Form Image Inpainting with Gated Convolution, 2019, and the published code.
    """
    image = keras.Input((None, None, 3), name="image")
    mask = keras.Input((None, None, 1), name="mask")
    known = (ops.flip(image, axis=-1) * 2.0 - 1.0) * (1.0 - mask)
    n = width

    x = layers.Concatenate(name="joined")([known, ops.ones_like(mask), mask])
    x = _shrink(x, "", (n, 2 * n, 2 * n, 4 * n, 4 * n, 4 * n))
    x = _dilate(x, "", 4 * n)
    coarse = _enlarge(x, "", n)

    painted = coarse * mask + known
    x = _shrink(painted, "x", (n, n, 2 * n, 2 * n, 4 * n, 4 * n))
    convolved = _dilate(x, "x", 4 * n)
    x = _shrink(painted, "pm", (n, n, 2 * n, 4 * n, 4 * n, 4 * n), last="relu")
    x = ContextualAttention(name="attention")([x, mask])
    attended = _gated(_gated(x, 4 * n, "pmconv9"), 4 * n, "pmconv10")
    x = layers.Concatenate(name="branches")([convolved, attended])
    refined = _enlarge(x, "all", n)

    outputs = [ops.flip((y + 1.0) / 2.0, axis=-1) for y in (refined, coarse)]
    return keras.Model([image, mask], outputs, name="deepfill2_generator")


def build_discriminator(width: int = 64) -> keras.Model:
    """Build the discriminator, SN-PatchGAN.

    Args:
        width: Channels of the first layer; 64 as published (5,946,816 parameters).

    Returns:
        A model from `[image (B, H, W, 3) RGB in [0, 1], mask (B, H, W, 1)]` to scores without
        bound, (B, H / 64, W / 64, 4 width).

    Example:
        >>> build_discriminator(width=4).output_shape
        (None, None, None, 16)
    """
    image = keras.Input((None, None, 3), name="image")
    mask = keras.Input((None, None, 1), name="mask")
    bgr = ops.flip(image, axis=-1) * 2.0 - 1.0
    x = layers.Concatenate(name="joined")([bgr, mask])
    for index, times in enumerate((1, 2, 4, 4, 4, 4), start=1):
        convolution = SpectralConv2D(
            times * width, 5, strides=2, padding="same", name=f"conv{index}"
        )
        x = layers.LeakyReLU(0.2, name=f"conv{index}_leaky")(convolution(x))
    return keras.Model([image, mask], x, name="deepfill2_discriminator")


# The generator has more than this times the square of its first bias' length.
_LEAST_WEIGHTS = 1400
_PREFIX = "inpaint_net/"


def load_published(path: PathLike) -> Loaded:
    """Load a published checkpoint as `unmask.inpainting.convert.load_published` does.

    It is TensorFlow 1's (the folder, or the path before `.index`), or a `states_tf_*.pth`. The
    discriminator's tensors, optimiser slots and counters are not reported.
    """
    if Path(path).suffix in (".pth", ".pt"):
        tensors = read_state_dict(path, ("G",))
    else:
        tensors = _read_checkpoint(Path(path))
    return convert_tensors(tensors, source=str(path))


def convert_tensors(tensors: Tensors, *, source: str = "state dict") -> Loaded:
    """Do the same with tensors of either published form, which error messages call `source`.

    Raises:
        WeightsError: As `load_published`.
    """
    if any(name.startswith(("stage1.", "stage2.")) for name in tensors):
        raise WeightsError(
            f"{source}: the fine-tuned PyTorch network (states_pt_*), which pads otherwise; "
            "take the published one (states_tf_*, or the TensorFlow checkpoint)"
        )
    name_of, first = by_module(tensors, _module_of), "conv1.conv.bias"
    if any(name.startswith(_PREFIX) for name in tensors):
        tensors = {
            name: value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
            for name, value in tensors.items()
            if name.startswith(_PREFIX) and "/Adam" not in name
        }
        name_of, first = _tensorflow_name, f"{_PREFIX}conv1/bias"
    if first not in tensors:
        raise WeightsError(f"{source}: not DeepFill v2's generator; it has no {first}")
    model = build_generator(max(width_of(tensors, first, _LEAST_WEIGHTS, source, axes=1) // 2, 2))
    return model, assign_tensors(model, tensors, name_of, source=source)


def load(folder: Path) -> Complete:
    """Load the published files of a folder and return what completes images with them."""
    checkpoint = next(folder.glob("*.index"), None)
    path = folder if checkpoint else next(iter(sorted(folder.glob("states_tf_*.pth"))), folder)
    model, _ = load_published(path)
    return completer(painter_of(model))


def painter_of(generator: keras.Model) -> Paint:
    """Return what paints by the refined image."""
    refined = keras.Model(generator.inputs, generator.outputs[0])
    return lambda image, mask, seed: forward(refined, image, mask)


# === Layers ===


def _gated(
    x: Any, filters: int, name: str, *, size: int = 3, activation: str = "elu", **options: Any
) -> Any:
    """One convolution: half of its channels are features, half say how much of them counts."""
    x = layers.Conv2D(2 * filters, size, padding="same", name=name, **options)(x)
    features = layers.Activation(activation, name=f"{name}_features")(x[..., :filters])
    gate = layers.Activation("sigmoid", name=f"{name}_gate")(x[..., filters:])
    return layers.Multiply(name=f"{name}_gated")([features, gate])


def _shrink(x: Any, prefix: str, filters: tuple[int, ...], last: str = "elu") -> Any:
    """Convolutions 1 to 6: to a quarter of the size."""
    name = f"{prefix}conv"
    x = _gated(x, filters[0], f"{name}1", size=5)
    x = _gated(x, filters[1], f"{name}2_downsample", strides=2)
    x = _gated(x, filters[2], f"{name}3")
    x = _gated(x, filters[3], f"{name}4_downsample", strides=2)
    x = _gated(x, filters[4], f"{name}5")
    return _gated(x, filters[5], f"{name}6", activation=last)


def _dilate(x: Any, prefix: str, filters: int) -> Any:
    """Convolutions 7 to 10."""
    for index, rate in enumerate((2, 4, 8, 16), start=7):
        x = _gated(x, filters, f"{prefix}conv{index}_atrous", dilation_rate=rate)
    return x


def _enlarge(x: Any, prefix: str, width: int) -> Any:
    """Convolutions 11 to 17: to the image, in [-1, 1]."""
    name = f"{prefix}conv"
    x = _gated(x, 4 * width, f"{name}11")
    x = _gated(x, 4 * width, f"{name}12")
    x = layers.UpSampling2D(name=f"{name}13_up")(x)
    x = _gated(x, 2 * width, f"{name}13_upsample")
    x = _gated(x, 2 * width, f"{name}14")
    x = layers.UpSampling2D(name=f"{name}15_up")(x)
    x = _gated(x, width, f"{name}15_upsample")
    x = _gated(x, width // 2, f"{name}16")
    x = layers.Conv2D(3, 3, padding="same", name=f"{name}17")(x)
    return layers.Activation("tanh", dtype="float32", name=f"{name}17_tanh")(x)


# === Names ===


def _tensorflow_name(variable: keras.Variable) -> str:
    layer, leaf = variable.path.split("/")
    inner = f"{layer}_conv/" if layer.endswith("_upsample") else ""
    return f"{_PREFIX}{layer}/{inner}{leaf}"


def _module_of(layer: str) -> str:
    return f"{layer}.conv{'.conv' if layer.endswith('_upsample') else ''}"


def _read_checkpoint(path: Path) -> dict[str, NDArray[np.generic]]:
    """Read the variables of a TensorFlow checkpoint. Nothing in it is executed."""
    import tensorflow as tf

    try:
        if path.is_dir():
            state = tf.train.get_checkpoint_state(str(path))
            # The file `checkpoint` may name a folder of the machine that it was written on.
            names = [Path(state.model_checkpoint_path).name] if state else []
            names += [file.stem for file in sorted(path.glob("*.index"))]
            path = next((path / n for n in names if (path / f"{n}.index").is_file()), path)
        reader = tf.train.load_checkpoint(str(path))
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    # TensorFlow passes on what its C++ reader makes of broken bytes.
    except (tf.errors.OpError, ValueError, OSError, IndexError, RuntimeError) as error:
        raise WeightsError(f"{path}: not a readable TensorFlow checkpoint ({error})") from error
