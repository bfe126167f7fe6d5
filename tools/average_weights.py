"""Write the mean of several weight files: `python -m tools.average_weights OUT FILE FILE ...`.

Trainings that went on from the same weights often lie around a better place than any of them
reached (Wortsman et al., "Model soups", 2022).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unmask.errors import UnmaskError, WeightsError
from unmask.weights import load_arrays, save_arrays


def main() -> int:
    """Average the files named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="file to write")
    parser.add_argument("files", type=Path, nargs="+", help="files of the same network")
    parser.add_argument(
        "--shares", type=float, nargs="+", help="a weight for each file (default: all the same)"
    )
    args = parser.parse_args()
    try:
        average_weights(args.files, args.out, args.shares)
    except (UnmaskError, ValueError) as error:
        print(f"average_weights: {error}", file=sys.stderr)
        return 2
    return 0


def average_weights(
    files: Sequence[Path], out: Path, shares: Sequence[float] | None = None
) -> None:
    """Write the weighted mean of the files' arrays as float16, with the first file's metadata.

    Args:
        files: Files of the same network.
        out: File to write.
        shares: Weight of each file, divided by their sum; all the same when None.

    Raises:
        ValueError: There are not as many shares as files, or one is not positive.
        WeightsError: A file is unreadable, or its arrays are not those of the first one.
    """
    shares = [1.0] * len(files) if shares is None else shares
    if len(shares) != len(files) or min(shares) <= 0:
        raise ValueError(
            f"shares must be {len(files)} positive numbers. Received: shares={list(shares)}"
        )
    first, metadata = load_arrays(files[0])
    sums = {name: np.zeros(array.shape) for name, array in first.items()}
    for path, share in zip(files, shares, strict=True):
        arrays, _ = load_arrays(path)
        if {n: a.shape for n, a in arrays.items()} != {n: a.shape for n, a in first.items()}:
            raise WeightsError(f"{path}: not the same network as {files[0]}")
        for name, array in arrays.items():
            sums[name] += share / sum(shares) * array.astype(np.float64)
    means = {name: total.astype(np.float16) for name, total in sums.items()}
    save_arrays(out, means, {**metadata, "mean_of": " ".join(f"{share:g}" for share in shares)})


if __name__ == "__main__":
    sys.exit(main())
