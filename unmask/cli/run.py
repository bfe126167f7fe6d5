"""`unmask run`: photos in, photos without masks out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from unmask.cli.arguments import ExistingDirectory, ExistingFile, PositiveInt, Seed
from unmask.cli.progress import report, track


def run(
    inputs: list[Path],
    /,
    *,
    out: Annotated[Path, Parameter(alias="-o")] = Path("unmasked"),
    preset: str = "lite",
    weights_dir: ExistingDirectory | None = None,
    finder: ExistingFile | None = None,
    gender: Literal["female", "male"] | None = None,
    seed: Seed = 0,
    panel: bool = False,
    json: bool = False,
    max_pixels: PositiveInt = 80_000_000,
    resume: bool = False,
    workers: PositiveInt = 1,
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
) -> int:
    """Complete the masked faces of photos.

    A photo without a masked face is written as it is, and faces that are turned or hidden too far
    are left as they are. A photo that cannot be read is reported, and the others go on. The exit
    status is 1 then.

    Args:
        inputs: Photos, or folders of photos.
        out: Folder for the results, or a file name for a single photo.
        preset: Which weights to use.
        weights_dir: Folder with a manifest.toml of your own.
        finder: Weights of another network that finds the masks, such as a trained Mask R-CNN.
        gender: Do not guess the gender.
        seed: Seed of the film grain.
        panel: Also draw the steps, NAME-panel.png.
        json: Also write what was found, NAME.json.
        max_pixels: Largest accepted width times height of a photo.
        resume: Leave photos alone whose results are in OUT already, from the same options.
        workers: Processes, or Ray actors.
        engine: Who does the work, for large folders.
        ray_address: Of a Ray cluster that sees the photos and OUT at the same paths. Default: one
            is started here.
    """
    from unmask.engines import one_thread_each
    from unmask.errors import ImageError, SettingError
    from unmask.folders import FolderSettings, begin, complete_photos, plan_jobs
    from unmask.image import find_images
    from unmask.presets import get_preset

    get_preset(preset)
    if ray_address and engine != "ray":
        raise SettingError(f"--ray-address is for --engine ray. Received: {ray_address}")
    if engine == "ray" or workers > 1:
        one_thread_each()
    # Ray's workers live in folders of their own.
    there = Path.absolute if engine == "ray" else Path
    settings = FolderSettings(
        preset=preset,
        weights_dir=weights_dir and there(weights_dir),
        finder=finder and there(finder),
        gender=gender,
        seed=seed,
        panel=panel,
        json=json,
        max_pixels=max_pixels,
    )
    photos = find_images(map(there, inputs))
    if not any(photo.exists() for photo in photos):
        raise ImageError(f"no photos in {', '.join(map(str, inputs))}")
    jobs = plan_jobs(photos, there(out), panel=panel)
    jobs = begin(jobs, there(out), settings, resume=resume)
    done = len(photos) - len(jobs)
    reports = complete_photos(
        jobs, settings, engine=engine, workers=workers, ray_address=ray_address
    )
    failed = empty = skipped = 0
    for made in track(reports, "completing", len(jobs)):
        if made.error:
            failed += 1
            report(made.error)
        else:
            empty += not made.faces and not made.skipped
            skipped += made.skipped
    if done:
        print(f"{done} of {len(photos)} photos had their results already")
    without = f", {empty} without a masked face" if empty else ""
    print(f"{len(jobs) - failed} of {len(jobs)} photos written{without}")
    if skipped:
        print(f"masked faces left as found, turned or hidden too far: {skipped}")
    return 1 if failed else 0
