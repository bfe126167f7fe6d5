"""Images a second of the inpainting training, and how much of the machine that is.

    python benchmarks/train_inpainting.py --features vgg.npz [--network lite] [--side 192]

One step updates the generator and the discriminator on a random batch; preparing samples is not
included (a thread does it beside the steps). The arithmetic of a step is counted from the shapes
of all convolutions and of the attention, and its rate is compared with a large matrix product of
the same type on the same backend (`KERAS_BACKEND=jax` for JAX). `--features full` measures with
the whole VGG-19, of random weights.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

# How often a step does the arithmetic of one forward pass: a backward pass costs as much again for
# the inputs' and for the weights' gradients. The generator: forward, both gradients. Features of
# four images, two of them with gradients for the input only. The discriminator: forward and
# input's gradient for the generator, then two images with both gradients for itself.
GENERATOR, FEATURES, DISCRIMINATOR = 3, 6, 8


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", required=True, help="as for training, or 'full'")
    parser.add_argument("--network", default="lite")
    parser.add_argument("--side", type=int, default=192)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--policy", default="mixed_bfloat16")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()

    import keras

    trainer = _trainer(args)
    batch = _batch(args.side, args.batch_size)
    start = time.perf_counter()
    trainer.train_step(batch, 1.0)
    compiled = time.perf_counter() - start
    seconds = min(_seconds(lambda: trainer.train_step(batch, 1.0), args.repeats))
    work = args.batch_size * _step_flops(trainer, args.side)
    peak = _matrix_peak(trainer.generator.compute_dtype)
    print(
        f"{keras.backend.backend()}, {args.network}, {args.policy}, features {args.features}, "
        f"{args.batch_size} images of {args.side} x {args.side}\n"
        f"first step (compiles)    {compiled:8.1f} s\n"
        f"step                     {seconds:8.3f} s\n"
        f"images a second          {args.batch_size / seconds:8.2f}\n"
        f"arithmetic of a step     {work / 1e9:8.1f} GFLOP\n"
        f"achieved                 {work / seconds / 1e9:8.1f} GFLOP/s\n"
        f"matrix product, same type{peak / 1e9:8.1f} GFLOP/s\n"
        f"share                    {work / seconds / peak:8.0%}"
    )


def _trainer(args: argparse.Namespace) -> Any:
    import keras

    from unmask.inpainting.networks import NETWORKS
    from unmask.inpainting.trainer import TrainConfig, Trainer

    with tempfile.TemporaryDirectory() as folder:
        features = args.features
        if features == "full":
            features = Path(folder) / "random.weights.h5"
            keras.applications.VGG19(include_top=False, weights=None).save_weights(features)
        return Trainer(
            TrainConfig(
                folders=[],
                prior=Path(),
                features=features,
                out=Path(),
                networks=NETWORKS[args.network],
                policy=args.policy,
            )
        )


def _batch(side: int, size: int) -> tuple[np.ndarray, ...]:
    """Arrays in the order of an `InpaintingBatch`, with a square hole."""
    rng = np.random.default_rng(0)
    image, coarse, truth = (rng.uniform(size=(size, side, side, 3)) for _ in range(3))
    mask = np.zeros((size, side, side, 1))
    mask[:, side // 3 :, side // 4 : -side // 4] = 1
    points = rng.uniform(size=mask.shape) > 0.997
    arrays = (image, mask, points, coarse, truth, np.ones_like(mask))
    return tuple(array.astype(np.float32) for array in arrays)


def _step_flops(trainer: Any, side: int) -> float:
    """Floating-point operations of one training step for one image."""
    return (
        GENERATOR * _forward_flops(trainer.generator, side)
        + FEATURES * _forward_flops(trainer.features.model, side)
        + DISCRIMINATOR * _forward_flops(trainer.discriminator, side)
    )


def _forward_flops(model: Any, side: int) -> float:
    """Count two operations a multiplication in convolutions and attention."""
    import keras

    from unmask.inpainting.attention import LongShortAttention

    counted = (keras.layers.Conv2D, keras.layers.Conv2DTranspose, LongShortAttention)
    layers = [layer for layer in model.layers if isinstance(layer, counted)]
    probe = keras.Model(model.inputs, [layer.output for layer in layers])
    inputs = [keras.Input((side, side, x.shape[-1])) for x in model.inputs]
    total = 0.0
    for layer, output in zip(layers, probe(inputs), strict=True):
        _, height, width, channels = output.shape
        positions = height * width
        if isinstance(layer, LongShortAttention):
            total += 2 * positions**2 * (layer.query_filters + channels)
        elif isinstance(layer, keras.layers.Conv2DTranspose):
            # A transposed convolution multiplies once for each of its *input's* positions.
            total += 2 * positions / np.prod(layer.strides) * np.prod(layer.kernel.shape)
        else:
            total += 2 * positions * np.prod(layer.kernel.shape)
    return float(total)


def _matrix_peak(dtype: str, side: int = 2048) -> float:
    """Operations a second of the fastest of some large matrix products."""
    from keras import ops

    matrix = ops.cast(np.random.default_rng(0).normal(size=(side, side)), dtype)

    def multiply() -> None:
        # Looking at one number waits for all of them.
        float(ops.convert_to_numpy(ops.cast(ops.matmul(matrix, matrix)[0, 0], "float32")))

    multiply()
    return 2 * side**3 / min(_seconds(multiply, 8))


def _seconds(work: Any, repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    main()
