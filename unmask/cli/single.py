"""One photo of `unmask run`: from standard input, to standard output, with a mask of one's own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmask.encode import FORMATS
from unmask.errors import DataError, SettingError
from unmask.folders import FolderSettings, plan_jobs, record_of, write_result
from unmask.image import encode_mask
from unmask.result import Result

_STREAM = Path("-")


def run_single(
    inputs: list[Path],
    out: Path,
    settings: FolderSettings,
    mask: Path | None,
    landmarks: Path | None,
    *,
    suffix: str = ".png",
    skip_existing: bool = False,
    quiet: bool = False,
) -> int:
    """Complete one photo.

    Args:
        inputs: The photo; "-" for standard input.
        out: A file, a folder, or "-" for standard output.
        settings: What to do with it.
        mask: Picture of its mask, see `unmask.image.load_mask`.
        landmarks: File of its face's landmarks, as for `unmask run`.
        suffix: Of the result where `out` is no file name, see `plan_jobs`.
        skip_existing: Whether nothing is done where the result is there already.
        quiet: Whether nothing is said of the result.

    Returns:
        The exit status, 0.

    Raises:
        DataError: A result would replace the photo, its mask or its landmarks.
        SettingError: There are several photos, or a result that cannot go to standard output.
        UnmaskError: As for `unmask.run`.
    """
    if len(inputs) != 1 or inputs[0].is_dir():
        raise SettingError("-, --mask and --landmarks are for a single photo")
    if out == _STREAM and (settings.panel or settings.json):
        raise SettingError("--panel and --json need a file to lie beside, not -o -")
    photo = Path("photo") if inputs[0] == _STREAM else inputs[0]
    target = None
    if out != _STREAM:
        read = [path for path in (mask, landmarks) if path is not None]
        [job] = plan_jobs(
            [photo], out, panel=settings.panel, json=settings.json, suffix=suffix, others=read
        )
        target = job.target
        if skip_existing and target.is_file():
            if not quiet:
                print(f"{target}: is there already", file=sys.stderr)
            return 0
    points = None if landmarks is None else _read_points(landmarks)
    from threadpoolctl import threadpool_limits

    source = sys.stdin.buffer if inputs[0] == _STREAM else photo
    unmasker = settings.unmasker()
    # As for folders: NumPy's sums depend on their number of threads.
    with threadpool_limits(1, user_api="blas"):
        result = unmasker(
            source, gender=settings.gender, mask=mask, landmarks=points, seed=settings.seed
        )
    if target is None:
        _print(result, FORMATS.get((suffix or photo.suffix).lower(), "PNG"), settings)
    else:
        write_result(result, target, settings, record_of(settings))
    if not quiet:
        print(result, file=sys.stderr)
    return 0


def _read_points(path: Path) -> NDArray[np.float32]:
    """Read a .npy array (98, 2) or (68, 2), or the same as JSON lists."""
    try:
        if path.suffix.lower() == ".npy":
            content = np.load(path, allow_pickle=False)
        else:
            content = json.loads(path.read_text(encoding="utf-8"))
        points = np.asarray(content, np.float32)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not a list of points ({error})") from error
    if points.shape not in ((98, 2), (68, 2)) or not np.isfinite(points).all():
        raise DataError(f"{path}: must be 98 or 68 points [x, y]. Received: shape={points.shape}")
    return points


def _print(result: Result, form: str, settings: FolderSettings) -> None:
    content = encode_mask(result.mask) if settings.mask_only else result.encode(form)
    sys.stdout.buffer.write(content)
