"""Many photos: each result is written where it belongs, and one bad file stays alone.

`Unmasker` answers in memory; this module is for folders, on one processor or many. Whoever
completes a photo also writes its result, so that no picture travels between processes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.engines import work_through
from unmask.errors import ImageError, PhotoWarning, UnmaskError, WeightsError
from unmask.image import IMAGE_SUFFIXES, Photo, load_photo
from unmask.io import atomic_path, write_text_atomic
from unmask.presets import get_preset
from unmask.weights import find

if TYPE_CHECKING:
    from unmask.pipeline import Unmasker
    from unmask.result import Result

# Photos that go through the networks together. The same whatever the engine and the number of
# workers: which photos share a batch can decide about the last digit of a number.
_TOGETHER = 8
# Ray keeps a record of every task: so many at most, whatever the number of photos.
_RAY_TASKS = 1000


@dataclass(frozen=True)
class FolderSettings:
    """What becomes of each photo.

    Attributes:
        preset: Which weights to use.
        weights_dir: Folder with their `manifest.toml`; the shipped one when None.
        finder: Weights of another network that finds the masks, see
            `unmask.segmentation.finder.load_finder`; the preset's when None.
        gender: "female" or "male"; decided from each face when None.
        seed: Seed of the film grain.
        panel: Whether the steps are drawn as well, NAME-panel.png.
        json: Whether what was found is written as well, NAME.json.
    """

    preset: str = "lite"
    weights_dir: Path | None = None
    finder: Path | None = None
    gender: str | None = None
    seed: int = 0
    panel: bool = False
    json: bool = False


@dataclass(frozen=True)
class PhotoJob:
    """A photo, and where its result goes."""

    source: Path
    target: Path


@dataclass(frozen=True)
class PhotoReport:
    """What became of a photo.

    Attributes:
        job: The photo.
        faces: Number of masked faces that were completed.
        skipped: Number of those that were left as they are, see `Result`.
        error: Why there is no result, with the file's name; None where there is one.
    """

    job: PhotoJob
    faces: int = 0
    skipped: int = 0
    error: str | None = None


def plan_jobs(photos: Sequence[Path], out: Path, *, panel: bool = False) -> list[PhotoJob]:
    """Choose a file for each photo: lossless, and no two the same.

    Args:
        photos: The photos.
        out: A folder, or a file name for a single photo.
        panel: Whether panels will lie beside the results.

    Returns:
        One job a photo, in their order. Photos of one name are numbered: NAME.png, NAME-2.png.

    Raises:
        ImageError: `out` is a file name and there are several photos, or its format is unknown, or
            a result would replace a photo.

    Example:
        >>> [str(job.target) for job in plan_jobs([Path("a.jpg"), Path("b/a.png")], Path("out"))]
        ['out/a.png', 'out/a-2.png']
    """
    jobs = [PhotoJob(p, t) for p, t in zip(photos, _targets(photos, out, panel), strict=True)]
    sources = {job.source.resolve() for job in jobs}
    for job in jobs:
        if job.target.resolve() in sources:
            raise ImageError(
                f"{job.target}: is one of the photos, and a result would replace it; write to "
                "another folder"
            )
    return jobs


def split_done(
    jobs: Sequence[PhotoJob], settings: FolderSettings
) -> tuple[list[PhotoJob], list[PhotoJob]]:
    """Tell the jobs whose files are all there from the others.

    Files are written whole or not at all, so one that exists is finished. Whether it was made with
    these settings, it does not say.

    Returns:
        The done jobs and the open ones.

    Raises:
        ImageError: Two photos have the same name, so that which of them a file belongs to depends
            on which photos there were then.
    """
    stems: dict[str, Path] = {}
    for job in jobs:
        other = stems.setdefault(job.source.stem.casefold(), job.source)
        if other != job.source:
            raise ImageError(
                f"{job.source}: has the same name as {other}, so it cannot be told whose results "
                "are there already; complete their folders one by one"
            )
    done: list[PhotoJob] = []
    still_open: list[PhotoJob] = []
    for job in jobs:
        finished = all(path.is_file() for path in _files(job, settings))
        (done if finished else still_open).append(job)
    return done, still_open


def complete_photos(
    jobs: Sequence[PhotoJob],
    settings: FolderSettings | None = None,
    *,
    engine: str = "local",
    workers: int = 1,
    ray_address: str | None = None,
) -> Iterator[PhotoReport]:
    """Complete photos and write the results; a photo that fails does not stop the others.

    The files are the same whatever the engine and the number of workers.

    Args:
        jobs: The photos, see `plan_jobs`. With Ray their paths are absolute and lead to the same
            files on every machine.
        settings: What to do with them; the defaults when None.
        engine: "local" or "ray".
        workers: Processes, or Ray actors; each has its own copy of the networks.
        ray_address: Of a Ray cluster; started on this machine when None.

    Yields:
        One report a photo as it is finished; a few photos are finished together.

    Raises:
        UnmaskError: Ray is not installed or cannot be started, or a worker was lost.
        SettingError: An option is out of range.
        WeightsError: The preset is unknown, or its weights are missing or altered.

    Example:
        >>> jobs = plan_jobs([Path("one.jpg"), Path("two.jpg")], Path("unmasked"))
        >>> for report in complete_photos(jobs, workers=2):  # doctest: +SKIP
        ...     print(report.job.target, report.error or report.faces)
    """
    settings = settings or FolderSettings()
    for stage in get_preset(settings.preset).files:
        find(settings.preset, stage, settings.weights_dir)  # one error now, not one for each worker
    if settings.finder is not None and not settings.finder.is_file():
        raise WeightsError(f"{settings.finder}: no such file")
    groups = [tuple(jobs[i : i + _TOGETHER]) for i in range(0, len(jobs), _TOGETHER)]
    for reports in work_through(
        PhotoCompleter(settings),
        groups,
        engine=engine,
        workers=workers,
        ray_address=ray_address,
        jobs_a_task=-(-len(groups) // _RAY_TASKS) or 1,
    ):
        yield from reports


class PhotoCompleter:
    """Completes a group of photos at a time and writes the results.

    It can be pickled; the networks are loaded at the first photo in each process.

    Args:
        settings: What to do with the photos.
    """

    def __init__(self, settings: FolderSettings) -> None:
        self.settings = settings

    def __getstate__(self) -> dict[str, Any]:
        """Leave the networks behind: the next process loads its own."""
        return {"settings": self.settings}

    def __call__(self, group: Sequence[PhotoJob]) -> list[PhotoReport]:
        """Complete photos, which are loaded one by one so that one bad file stays alone.

        Returns:
            One report a photo, in their order.
        """
        from threadpoolctl import threadpool_limits

        from unmask.pipeline import MIN_SIDE

        photos: dict[PhotoJob, Photo] = {}
        reports: dict[PhotoJob, PhotoReport] = {}
        for job in group:
            try:
                photos[job] = load_photo(job.source, min_side=MIN_SIDE)
            except (ImageError, OSError) as error:
                reports[job] = _failure(job, job.source, error)
        # NumPy's sums depend on their number of threads, TensorFlow's and OpenCV's do not.
        with threadpool_limits(1, user_api="blas"):
            outcomes = self._complete(photos)
        for job, outcome in outcomes:
            reports[job] = self._write(job, outcome)
        return [reports[job] for job in group]

    @cached_property
    def _unmasker(self) -> Unmasker:
        from unmask.pipeline import Unmasker

        settings = self.settings
        return Unmasker(settings.preset, settings.weights_dir, finder=settings.finder).load()

    def _complete(self, photos: dict[PhotoJob, Photo]) -> list[tuple[PhotoJob, Result | Exception]]:
        if not photos:
            return []
        unmasker = self._unmasker
        try:
            with _without_remarks():
                results = unmasker(
                    list(photos.values()), gender=self.settings.gender, seed=self.settings.seed
                )
        # One photo in millions must not end the work, whatever it meets; it is reported.
        except Exception as error:
            if len(photos) == 1:
                return [(job, error) for job in photos]
            alone = [self._complete({job: photo}) for job, photo in photos.items()]
            return [outcome for outcomes in alone for outcome in outcomes]
        return list(zip(photos, results, strict=True))

    def _write(self, job: PhotoJob, outcome: Result | Exception) -> PhotoReport:
        if isinstance(outcome, Exception):
            return _failure(job, job.source, outcome)
        try:
            if self.settings.json:
                content = {
                    "faces": [face.to_dict() for face in outcome.faces],
                    "skipped": [[round(v, 1) for v in box] for box in outcome.skipped],
                }
                write_text_atomic(_json(job), json.dumps(content, indent=2) + "\n")
            if self.settings.panel:
                with atomic_path(_panel(job)) as temporary:
                    outcome.panel().savefig(temporary, dpi=110)
            outcome.save(job.target)
        except (ImageError, OSError) as error:
            return _failure(job, job.target, error)
        return PhotoReport(job, faces=len(outcome.faces), skipped=len(outcome.skipped))


@contextlib.contextmanager
def _without_remarks() -> Iterator[None]:
    """Keep quiet about what is ordinary in a folder."""
    tensorflow = logging.getLogger("tensorflow")
    level = tensorflow.level
    # Groups hold different numbers of faces, and TensorFlow warns of every new size of a batch.
    tensorflow.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Photos without a masked face, and masks that were left, are in the report instead.
            warnings.simplefilter("ignore", PhotoWarning)
            yield
    finally:
        tensorflow.setLevel(level)


# === Names of files ===


def _targets(photos: Sequence[Path], out: Path, panel: bool) -> list[Path]:
    if out.suffix and not out.is_dir() and (len(photos) == 1 or _is_image(out)):
        if len(photos) > 1:
            raise ImageError(
                f"{out}: is a file name, which is for a single photo. Received: {len(photos)} "
                "photos"
            )
        if not _is_image(out):
            raise ImageError(
                f"{out}: unknown suffix {out.suffix!r}, use one of "
                f"{', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        return [out]
    targets: list[Path] = []
    taken: set[str] = set()
    for photo in photos:
        name, number = photo.stem, 2
        while taken & _names(name, panel):
            name, number = f"{photo.stem}-{number}", number + 1
        taken |= _names(name, panel)
        targets.append(out / f"{name}.png")
    return targets


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _names(name: str, panel: bool) -> set[str]:
    # Some file systems take upper and lower case for the same.
    return {name.casefold(), f"{name}-panel".casefold()} if panel else {name.casefold()}


def _files(job: PhotoJob, settings: FolderSettings) -> Iterator[Path]:
    yield job.target
    if settings.json:
        yield _json(job)
    if settings.panel:
        yield _panel(job)


def _json(job: PhotoJob) -> Path:
    return job.target.with_suffix(".json")


def _panel(job: PhotoJob) -> Path:
    return job.target.with_name(f"{job.target.stem}-panel.png")


def _failure(job: PhotoJob, path: Path, error: Exception) -> PhotoReport:
    text = str(error)
    if not isinstance(error, (UnmaskError, OSError)):
        text = f"{type(error).__name__}: {text}"
    return PhotoReport(job, error=text if str(path) in text else f"{path}: {text}")
