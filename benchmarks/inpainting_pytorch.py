"""Milliseconds of the lite and the paper's generator beside the same networks in PyTorch.

    python benchmarks/inpainting_pytorch.py [--side 256] [--repeats 10]

Random weights, float32, one image, evaluation mode, PyTorch with its default memory layout (it was
faster than channels-last here). Spectral normalisation is left out of the PyTorch networks, which
favours them. Needs PyTorch (`pip install torch`). Each library runs in its own process,
one after the other, three times in turn; the fastest of all repeats counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter, run

# Width, blocks, attention, coarse completion as input.
NETWORKS: dict[str, tuple[int, int, bool, bool]] = {
    "lite": (32, 3, False, True),
    "paper": (64, 7, True, False),
}
_TURNS = 3


def main(
    *,
    side: int = 256,
    repeats: int = 10,
    only: Annotated[Literal["ours", "pytorch"] | None, Parameter(show=False)] = None,
) -> None:
    """Print the table, or in a process of its own one library's times.

    Args:
        side: Side of the image, 8 divides it.
        repeats: Passes that are timed.
        only: The library that this process is for.
    """
    if only:
        make = _ours if only == "ours" else _pytorch
        print(*(_fastest(make(name, side), repeats) for name in NETWORKS))
        return
    fastest = {library: [float("inf")] * len(NETWORKS) for library in ("ours", "pytorch")}
    for _ in range(_TURNS):
        for library, best in fastest.items():
            fastest[library] = list(map(min, best, _times(library, side, repeats)))
    print(f"{'network':10}{'ours':>10}{'PyTorch':>10}{'ratio':>8}")
    for name, ours, theirs in zip(NETWORKS, *fastest.values(), strict=True):
        print(f"{name:10}{1e3 * ours:7.0f} ms{1e3 * theirs:7.0f} ms{theirs / ours:8.2f}")


def _times(library: str, side: int, repeats: int) -> list[float]:
    command = [sys.executable, __file__, "--only", library]
    command += ["--side", str(side), "--repeats", str(repeats)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(value) for value in done.stdout.split()]


def _fastest(call: Callable[[], object], repeats: int) -> float:
    call()
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _inputs(side: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((1, side, side, c), np.float32) for c in (3, 1, 1, 3)]


def _ours(name: str, side: int) -> Callable[[], object]:
    from unmask.inference import forward
    from unmask.inpainting.evaluate import GENERATORS

    model = GENERATORS[name]()
    inputs = _inputs(side)[: len(model.inputs)]
    return lambda: forward(model, *inputs)


def _pytorch(name: str, side: int) -> Callable[[], object]:
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    network = _torch_generator(*NETWORKS[name]).eval()
    inputs = [torch.from_numpy(x.transpose(0, 3, 1, 2).copy()) for x in _inputs(side)]

    def call() -> object:
        with torch.inference_mode():
            return network(*inputs)

    return call


def _torch_generator(width: int, depth: int, attention: bool, coarse: bool) -> Any:
    import torch
    from torch import nn
    from torch.nn import functional

    def normalised(convolution: nn.Module, channels: int, pad: int = 0) -> nn.Sequential:
        padding = [nn.ReflectionPad2d(pad)] if pad else []
        return nn.Sequential(*padding, convolution, nn.InstanceNorm2d(channels), nn.ReLU())

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.first = normalised(nn.Conv2d(channels, channels, 3, dilation=2), channels, 2)
            self.second = nn.Sequential(
                nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)
            )

        def forward(self, x: Any) -> Any:
            return x + self.second(self.first(x))

    class Generator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            w, c = width, 4 * width
            self.encoder1 = normalised(nn.Conv2d(5 if coarse else 4, w, 7), w, 3)
            self.encoder2 = normalised(nn.Conv2d(w, 2 * w, 4, 2, 1), 2 * w)
            self.encoder3 = normalised(nn.Conv2d(2 * w, c, 4, 2, 1), c)
            self.middle = nn.Sequential(*(Block(c) for _ in range(depth)))
            self.query = nn.Conv2d(c, c // 4, 1) if attention else None
            self.gamma, self.alpha = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
            self.joint1, self.joint2 = nn.Conv2d(2 * c, c, 3, 1, 1), nn.Conv2d(c, c, 3, 1, 1)
            self.shortcut = nn.Conv2d(2 * c, c, 1)
            self.decoder1 = normalised(nn.ConvTranspose2d(c, 2 * w, 4, 2, 1), 2 * w)
            self.fusion1 = normalised(nn.Conv2d(c, c, 1), c)
            self.decoder2 = normalised(nn.ConvTranspose2d(c, w, 4, 2, 1), w)
            self.fusion2 = normalised(nn.Conv2d(2 * w, 2 * w, 1), 2 * w)
            self.decoder3 = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(2 * w, 3, 7))

        def forward(self, image: Any, mask: Any, landmarks: Any, completion: Any) -> Any:
            painted = image * (1 - mask) + (completion * mask if coarse else mask)
            parts = [painted, landmarks, *([mask] if coarse else [])]
            half, quarter = (
                functional.interpolate(mask, scale_factor=f, mode="bilinear", align_corners=True)
                for f in (0.5, 0.25)
            )
            encoded1 = self.encoder1(torch.cat(parts, 1))
            encoded2 = self.encoder2(encoded1)
            encoded3 = self.encoder3(encoded2)
            x = self._join(self.middle(encoded3), encoded3, quarter)
            y = self.joint1(functional.leaky_relu(x, 0.01))
            x = self.joint2(functional.leaky_relu(y, 0.01)) + self.shortcut(x)
            x = self.fusion1(torch.cat([encoded2 * (1 - half), self.decoder1(x)], 1))
            x = self.fusion2(torch.cat([encoded1 * (1 - mask), self.decoder2(x)], 1))
            x = torch.tanh(self.decoder3(x))
            return (painted + x).clamp(0, 1) if coarse else (x + 1) / 2

        def _join(self, x: Any, encoded: Any, mask: Any) -> Any:
            if self.query is None:
                return torch.cat([x, (1 - mask) * encoded], 1)
            query = self.query(x).flatten(2)
            weights = torch.softmax(query.transpose(1, 2) @ query, -1).transpose(1, 2)
            short, long = ((v.flatten(2) @ weights).view_as(v) for v in (x, encoded))
            return torch.cat(
                [self.gamma * short + x, self.alpha * mask * long + (1 - mask) * encoded], 1
            )

    return Generator()


if __name__ == "__main__":
    run(main)
