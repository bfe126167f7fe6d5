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
    mask: ExistingFile | None = None,
    landmarks: ExistingFile | None = None,
    mask_only: bool = False,
    form: Annotated[Literal["png", "jpg", "webp", "keep"], Parameter(name="--format")] = "png",
    recursive: bool = False,
    runtime: Literal["auto", "keras", "onnx"] = "auto",
    max_pixels: PositiveInt = 80_000_000,
    resume: bool = False,
    skip_existing: bool = False,
    quiet: bool = False,
    workers: PositiveInt = 1,
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
) -> int:
    """Complete the masked faces of photos.

    A photo without a masked face is written as it is, and faces that are turned or hidden too far
    are left as they are. A photo that cannot be read is reported, and the others go on. The exit
    status is 1 then.

    Args:
        inputs: Photos, or folders of photos; - reads one photo from standard input.
        out: Folder for the results, or a file name for a single photo; - writes a single result to
            standard output.
        preset: Which weights to use.
        weights_dir: Folder with a manifest.toml of your own.
        finder: Weights of another network that finds the masks, such as a trained Mask R-CNN.
        gender: Do not guess the gender.
        seed: Seed of the film grain.
        panel: Also draw the steps, NAME-panel.png.
        json: Also write what was found, NAME.json.
        mask: Image of a single photo's size: everything not black is painted, instead of the mask
            that would be found.
        landmarks: Landmarks of the face in a single photo, in its pixels: a JSON list of 98 or 68
            points [x, y], or such an array in a .npy file.
        mask_only: Write what would be painted, white on black, in place of the photos.
        form: Of the results, where OUT is no file name; keep: each photo's own.
        runtime: What runs the networks; auto: ONNX Runtime where it is installed, else Keras.
        recursive: Also the folders inside folders, but not earlier results in OUT; the results
            are laid out alike.
        max_pixels: Largest accepted width times height of a photo.
        resume: Leave photos alone whose results are in OUT already, from the same options.
        skip_existing: Leave photos alone whose results are in OUT already, whatever made them.
        quiet: Say nothing but what failed.
        workers: Processes, or Ray actors.
        engine: Who does the work, for large folders.
        ray_address: Of a Ray cluster that sees the photos and OUT at the same paths. Default: one
            is started here.
    """
    from unmask.errors import SettingError
    from unmask.presets import get_preset

    get_preset(preset)
    if ray_address and engine != "ray":
        raise SettingError(f"--ray-address is for --engine ray. Received: {ray_address}")
    # Ray's workers live in folders of their own.
    there = Path.absolute if engine == "ray" else Path
    from unmask.folders import (
        FolderSettings,
        begin,
        complete_photos,
        find_photos,
        holds_results,
        plan_jobs,
    )

    settings = FolderSettings(
        preset=preset,
        weights_dir=weights_dir and there(weights_dir),
        finder=finder and there(finder),
        gender=gender,
        seed=seed,
        panel=panel,
        json=json,
        mask_only=mask_only,
        runtime=runtime,
        max_pixels=max_pixels,
    )
    suffix = ".png" if mask_only else {"keep": ""}.get(form, f".{form}")
    if mask or landmarks or Path("-") in (out, *inputs):
        from unmask.cli.single import run_single

        many = {"--resume": resume, "--workers": workers > 1, "--engine": engine != "local"}
        if refused := [option for option, given in many.items() if given]:
            raise SettingError(f"{', '.join(refused)}: not with -, --mask or --landmarks")
        return run_single(
            inputs,
            out,
            settings,
            mask,
            landmarks,
            suffix=suffix,
            skip_existing=skip_existing,
            quiet=quiet,
        )
    if engine == "ray" or workers > 1:
        from unmask.engines import one_thread_each

        one_thread_each()
    earlier = [there(out)] if holds_results(out) else []
    photos, inside = find_photos(list(map(there, inputs)), recursive, earlier)
    jobs = plan_jobs(photos, there(out), panel=panel, json=json, suffix=suffix, inside=inside)
    if skip_existing:
        jobs = [job for job in jobs if not job.target.is_file()]
    jobs = begin(jobs, there(out), settings, resume=resume)
    done = len(photos) - len(jobs)
    reports = complete_photos(
        jobs, settings, engine=engine, workers=workers, ray_address=ray_address
    )
    failed = empty = skipped = 0
    for made in reports if quiet else track(reports, "completing", len(jobs)):
        if made.error:
            failed += 1
            report(made.error)
        else:
            empty += not made.faces and not made.skipped
            skipped += made.skipped
    if quiet:
        return 1 if failed else 0
    if done:
        print(f"{done} of {len(photos)} photos had their results already")
    without = f", {empty} without a masked face" if empty else ""
    print(f"{len(jobs) - failed} of {len(jobs)} photos written{without}")
    if skipped:
        print(f"masked faces left as found, turned or hidden too far: {skipped}")
    return 1 if failed else 0
