"""From the shell to the first picture: seconds, processor seconds and memory, by runtime.

    python benchmarks/start.py [--photo PHOTO] [--repeats 5]

Each repeat is a process of its own, the runtimes in turn; of the demo's portrait where no photo is
named. Only the ratio of the rows carries over to other machines.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

_RUNTIMES = ("onnx", "keras")


def main() -> None:
    """Print a row a runtime."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photo = args.photo or _masked_portrait(Path(folder))
        rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in _RUNTIMES}
        for _ in range(args.repeats):
            for runtime in _RUNTIMES:
                rows[runtime].append(_run(photo, Path(folder) / f"{runtime}.png", runtime))
    print("| runtime | seconds, median (least) | processor seconds | peak memory, MB |")
    print("|---|---|---|---|")
    for runtime, measured in rows.items():
        walls, cpus, peaks = zip(*measured, strict=True)
        print(
            f"| {runtime} | {statistics.median(walls):.2f} ({min(walls):.2f}) "
            f"| {statistics.median(cpus):.2f} | {max(peaks):.0f} |"
        )


def _masked_portrait(folder: Path) -> Path:
    from unmask.demo import portraits, wear_mask
    from unmask.image import save_image
    from unmask.pipeline import Unmasker

    path = folder / "portrait.png"
    save_image(path, wear_mask(Unmasker(), portraits()[0]))
    return path


def _run(photo: Path, out: Path, runtime: str) -> tuple[float, float, float]:
    """Return seconds, processor seconds and the largest resident memory of one command."""
    words = ["-m", "unmask", "run", str(photo), "-o", str(out), "--runtime", runtime, "--quiet"]
    start = time.perf_counter()
    process = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, *words])
    _, status, usage = os.wait4(process, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"unmask run --runtime {runtime} failed")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
