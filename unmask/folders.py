"""Many photos: each result is written where it belongs, and one bad file stays alone.

`Unmasker` answers in memory; this module is for folders, on one processor or many. Whoever
completes a photo also writes its result, so that no picture travels between processes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask._version import __version__
from unmask.encode import FORMATS
from unmask.engines import work_through
from unmask.errors import ImageError, PhotoWarning, WeightsError
from unmask.image import DEFAULT_MAX_PIXELS, Photo, find_images, load_photo, save_mask
from unmask.io import (
    atomic_path,
    check_origin,
    prepare_folder,
    short_stem,
    sweep,
    write_json_atomic,
)
from unmask.origin import COMPOSITE
from unmask.paths import check_outputs, text_about
from unmask.presets import get_preset
from unmask.weights import file_sha256

if TYPE_CHECKING:
    from unmask.pipeline import Runtime, Unmasker
    from unmask.result import Result

_RECORD = ".unmask-run.json"
"""What a folder's results were made with; what is older than it was made with something else."""

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
        runtime: What runs the networks, see `unmask.pipeline.Unmasker`.
        mask_only: Whether the result is what would be painted, white on black, and not the photo.
        max_pixels: Largest accepted width times height of a photo.
    """

    preset: str = "lite"
    weights_dir: Path | None = None
    finder: Path | None = None
    gender: str | None = None
    seed: int = 0
    panel: bool = False
    json: bool = False
    runtime: Runtime = "auto"
    mask_only: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS

    def unmasker(self) -> Unmasker:
        """Return what completes photos so; its networks are loaded when they are needed."""
        from unmask.pipeline import Unmasker

        return Unmasker(
            self.preset,
            self.weights_dir,
            finder=self.finder,
            max_pixels=self.max_pixels,
            runtime=self.runtime,
        )


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


def find_photos(
    inputs: Sequence[Path], recursive: bool, leave_out: Collection[Path] = ()
) -> tuple[list[Path], dict[Path, Path]]:
    """List photos, and the folders inside the results' where those of subfolders belong.

    Inputs are photos and folders; the second answer is `inside` of `plan_jobs`. What `leave_out`
    names is passed over where it lies in a folder.

    Raises:
        ImageError: There are none.
    """
    photos = find_images(inputs, recursive=recursive, leave_out=leave_out)
    if not any(photo.exists() for photo in photos):
        raise ImageError(f"no photos in {', '.join(map(str, inputs))}")
    roots = [path for path in inputs if path.is_dir()]
    inside = {
        photo: photo.parent.relative_to(root)
        for photo in photos
        for root in roots
        # "../a.jpg" begins with the folder "." as well.
        if photo.is_relative_to(root) and ".." not in photo.relative_to(root).parts
    }
    return photos, inside


def holds_results(folder: Path) -> bool:
    """Tell whether results were written to a folder before: what it holds is no photo to complete.

    Example:
        >>> holds_results(Path("photos"))
        False
    """
    return (folder / _RECORD).is_file()


def plan_jobs(
    photos: Sequence[Path],
    out: Path,
    *,
    panel: bool = False,
    json: bool = False,
    suffix: str = ".png",
    inside: Mapping[Path, Path] | None = None,
    others: Collection[Path] = (),
) -> list[PhotoJob]:
    """Choose a file for each photo, no two the same.

    Args:
        photos: The photos.
        out: A folder, or a file name for a single photo.
        panel: Whether panels will lie beside the results.
        json: Whether files of what was found will, too.
        suffix: Of the results, which decides their format; "" for each photo's own where it is
            a format that is written, else ".png".
        inside: Folder inside `out` for a photo; `out` itself where it is not named.
        others: What else is read, and must not be replaced either.

    Returns:
        One job a photo, in their order. Photos of one name are numbered: NAME.png, NAME-2.png.
        Names that are too long for a file system are shortened.

    Raises:
        DataError: A result would replace a photo, or what else is read.
        ImageError: `out` is a file name and there are several photos, or its format is unknown.

    Example:
        >>> [str(job.target) for job in plan_jobs([Path("a.jpg"), Path("b/a.png")], Path("out"))]
        ['out/a.png', 'out/a-2.png']
    """
    targets = _targets(photos, out, panel, json, suffix, inside or {})
    check_outputs([file for t in targets for file in _files(t, panel, json)], [*photos, *others])
    return [PhotoJob(p, t) for p, t in zip(photos, targets, strict=True)]


def begin(
    jobs: Sequence[PhotoJob], out: Path, settings: FolderSettings, *, resume: bool = False
) -> list[PhotoJob]:
    """Open the folder of results, which remembers what they are made with.

    Files are written whole or not at all, so one that exists, and that is not older than what the
    folder remembers, is finished.

    Args:
        jobs: The photos, see `plan_jobs`.
        out: As for `plan_jobs`.
        settings: What is done with them.
        resume: Whether results that are there already are left alone.

    Returns:
        The jobs that are to be done.

    Raises:
        DataError: With `resume`, the results were made with other settings or weights; the
            message says which.
        ImageError: With `resume`, two photos have the same name, so that which of them a file
            belongs to depends on which photos there were then.
        UnmaskError: Nothing can be written there.
        WeightsError: See `complete_photos`.

    Example:
        >>> jobs = plan_jobs([Path("one.jpg")], Path("unmasked"))
        >>> begin(jobs, Path("unmasked"), FolderSettings(), resume=True)
        [PhotoJob(source=PosixPath('one.jpg'), target=PosixPath('unmasked/one.png'))]
    """
    if not jobs:  # they were all there already
        return []
    made_with = record_of(settings)
    # In the folder of a single named file are other things as well.
    named = out in {job.target for job in jobs}
    prepare_folder(out.parent if named else out)
    record, since = out / _RECORD, 0.0
    remembered = not named and record.is_file()
    left = list(jobs)
    if resume:
        _require_own_names(jobs)
        if remembered:
            check_origin(record, made_with, exists=True)
            since = record.stat().st_mtime
        left = [job for job in jobs if not _finished(job, settings, since)]
    if not named and not (resume and remembered):
        write_json_atomic(record, made_with)
        if resume:  # nothing is known of what was there before, so it counts
            os.utime(record, (0, 0))
    return left


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
        UnmaskError: Nothing can be written there, Ray is not installed or cannot be started, or a
            worker was lost.
        SettingError: An option is out of range.
        WeightsError: The preset is unknown, or its weights are missing or altered.

    Example:
        >>> jobs = plan_jobs([Path("one.jpg"), Path("two.jpg")], Path("unmasked"))
        >>> for report in complete_photos(jobs, workers=2):  # doctest: +SKIP
        ...     print(report.job.target, report.error or report.faces)
    """
    settings = settings or FolderSettings()
    record_of(settings)  # one error now, not one for each worker
    folders = {job.target.parent for job in jobs}
    for folder in folders:
        prepare_folder(folder)
    groups = [tuple(jobs[i : i + _TOGETHER]) for i in range(0, len(jobs), _TOGETHER)]
    try:
        for reports in work_through(
            PhotoCompleter(settings),
            groups,
            engine=engine,
            workers=workers,
            ray_address=ray_address,
            jobs_a_task=-(-len(groups) // _RAY_TASKS) or 1,
        ):
            yield from reports
    finally:
        for folder in folders:  # after an interruption, workers have left theirs
            sweep(folder)


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
                photos[job] = load_photo(
                    job.source, max_pixels=self.settings.max_pixels, min_side=MIN_SIDE
                )
            except Exception as error:  # as below
                reports[job] = PhotoReport(job, error=text_about(job.source, error))
        # NumPy's sums depend on their number of threads, TensorFlow's and OpenCV's do not.
        with threadpool_limits(1, user_api="blas"):
            outcomes = self._complete(photos)
        for job, outcome in outcomes:
            reports[job] = self._write(job, outcome)
        return [reports[job] for job in group]

    @cached_property
    def _unmasker(self) -> Unmasker:
        return self.settings.unmasker().load()

    @cached_property
    def _record(self) -> dict[str, Any]:
        return record_of(self.settings)

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
            return PhotoReport(job, error=text_about(job.source, outcome))
        try:
            write_result(outcome, job.target, self.settings, self._record)
        except Exception as error:  # as above
            return PhotoReport(job, error=text_about(job.target, error))
        return PhotoReport(job, faces=len(outcome.faces), skipped=len(outcome.skipped))


def write_result(
    result: Result, target: Path, settings: FolderSettings, record: Mapping[str, Any]
) -> None:
    """Write what is asked for of a result, the picture last; `record` is what it was made with.

    Raises:
        UnmaskError: Something cannot be written.
    """
    if settings.json:
        content = result.to_dict() | {"unmask": __version__, **record}
        if result.faces:
            content["digital_source_type"] = COMPOSITE
        write_json_atomic(_json(target), content)
    if settings.panel:
        with atomic_path(_panel(target)) as temporary:
            result.panel().savefig(temporary, dpi=110)
    if settings.mask_only:
        save_mask(target, result.mask)
    else:
        result.save(target)


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


def _targets(
    photos: Sequence[Path],
    out: Path,
    panel: bool,
    json: bool,
    suffix: str,
    inside: Mapping[Path, Path],
) -> list[Path]:
    one = len(photos) == 1 and photos[0] not in inside  # and not the only one of a folder
    if out.suffix and not out.is_dir() and (one or _is_image(out)):
        if len(photos) > 1:
            raise ImageError(
                f"{out}: is a file name, which is for a single photo. Received: {len(photos)} "
                "photos"
            )
        if not _is_image(out):
            raise ImageError(
                f"{out}: unknown suffix {out.suffix!r}, use one of {', '.join(FORMATS)}"
            )
        return [out]
    targets: list[Path] = []
    taken: set[str] = set()
    for photo in photos:
        folder = out / inside.get(photo, Path())
        end = suffix or (photo.suffix if _is_image(photo) else ".png")
        target, number = folder / _name(photo.stem, end), 2
        while taken & _names(target, panel, json):
            target, number = folder / _name(f"{photo.stem}-{number}", end), number + 1
        taken |= _names(target, panel, json)
        targets.append(target)
    return targets


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in FORMATS


def _name(stem: str, end: str) -> str:
    return short_stem(stem, len(end)) + end


def _names(target: Path, panel: bool, json: bool) -> set[str]:
    # Some file systems take upper and lower case for the same.
    return {str(path).casefold() for path in _files(target, panel, json)}


def _files(target: Path, panel: bool, json: bool) -> Iterator[Path]:
    yield target
    if json:
        yield _json(target)
    if panel:
        yield _panel(target)


def _json(target: Path) -> Path:
    return target.with_name(_name(target.stem, ".json"))


def _panel(target: Path) -> Path:
    return target.with_name(_name(target.stem, "-panel.png"))


# === What is there already ===


def record_of(settings: FolderSettings) -> dict[str, Any]:
    """Return what the pixels of results depend on; the weights are there, and unaltered."""
    unmasker = settings.unmasker()
    weights = {s: unmasker.weight_file(s).sha256 for s in get_preset(settings.preset).files}
    if settings.finder is not None:
        if not settings.finder.is_file():
            raise WeightsError(f"{settings.finder}: no such file")
        weights["finder"] = file_sha256(settings.finder)
    return {
        "preset": settings.preset,
        "gender": settings.gender,
        "seed": settings.seed,
        "weights": weights,
        # Only where it is asked for: older records do not have it.
        **({"mask_only": True} if settings.mask_only else {}),
    }


def _require_own_names(jobs: Sequence[PhotoJob]) -> None:
    names: dict[str, Path] = {}
    for job in jobs:
        name = str(job.target.parent / job.source.stem).casefold()
        other = names.setdefault(name, job.source)
        if other != job.source:
            raise ImageError(
                f"{job.source}: has the same name as {other}, so it cannot be told whose results "
                "are there already; complete their folders one by one"
            )


def _finished(job: PhotoJob, settings: FolderSettings, since: float) -> bool:
    files = _files(job.target, settings.panel, settings.json)
    return all(path.is_file() and path.stat().st_mtime >= since for path in files)
