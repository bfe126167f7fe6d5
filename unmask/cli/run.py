"""`unmask run`: photos in, photos without masks out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from unmask.cli.arguments import at_least


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "run",
        help="complete the masked faces of photos",
        description="Complete the masked faces of photos. A photo without a masked face is"
        " written unchanged, and faces that are turned or hidden too far are left as they are. A"
        " photo that cannot be read is reported, and the others go on. The exit status is 1 then.",
    )
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="IN", help="photos, or folders of photos"
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("unmasked"),
        metavar="OUT",
        help="folder for the results (%(default)s), or a file name for a single photo",
    )
    parser.add_argument("--preset", default="lite", help="which weights to use (%(default)s)")
    parser.add_argument(
        "--weights-dir", type=Path, metavar="DIR", help="folder with a manifest.toml of your own"
    )
    parser.add_argument(
        "--finder",
        type=Path,
        metavar="FILE",
        help="weights of another network that finds the masks, such as a trained Mask R-CNN",
    )
    parser.add_argument("--gender", choices=("female", "male"), help="do not guess the gender")
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of the film grain (0)")
    parser.add_argument("--panel", action="store_true", help="also draw the steps, NAME-panel.png")
    parser.add_argument("--json", action="store_true", help="also write what was found, NAME.json")
    many = parser.add_argument_group("large folders")
    many.add_argument(
        "--resume",
        action="store_true",
        help="leave photos alone whose results are in OUT already, from the same options",
    )
    many.add_argument(
        "--workers", type=at_least(1), default=1, help="processes, or Ray actors (%(default)s)"
    )
    many.add_argument("--engine", choices=("local", "ray"), default="local", help="(%(default)s)")
    many.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="of a Ray cluster that sees IN and OUT at the same paths (one is started here)",
    )
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    """Run, report, and return the exit status: 1 if a photo failed."""
    from rich.progress import track

    from unmask.engines import one_thread_each
    from unmask.errors import ImageError, UnmaskError
    from unmask.folders import FolderSettings, complete_photos, plan_jobs, split_done
    from unmask.image import find_images

    if args.ray_address and args.engine != "ray":
        raise UnmaskError(f"--ray-address is for --engine ray. Received: {args.ray_address}")
    if args.engine == "ray" or args.workers > 1:
        one_thread_each()
    settings = FolderSettings(
        preset=args.preset,
        weights_dir=args.weights_dir and _path(args.weights_dir, args.engine),
        finder=args.finder and _path(args.finder, args.engine),
        gender=args.gender,
        seed=args.seed,
        panel=args.panel,
        json=args.json,
    )
    photos = find_images(_path(path, args.engine) for path in args.inputs)
    if not photos:
        raise ImageError(f"no photos in {', '.join(map(str, args.inputs))}")
    jobs = plan_jobs(photos, _path(args.out, args.engine), panel=args.panel)
    done, jobs = split_done(jobs, settings) if args.resume else ([], jobs)
    reports = complete_photos(
        jobs, settings, engine=args.engine, workers=args.workers, ray_address=args.ray_address
    )
    failed = empty = skipped = 0
    for report in track(reports, "completing", len(jobs), disable=not sys.stderr.isatty()):
        if report.error:
            failed += 1
            print(f"unmask: {report.error}", file=sys.stderr)
        else:
            empty += not report.faces and not report.skipped
            skipped += report.skipped
    if done:
        print(f"{len(done)} of {len(photos)} photos had their results already")
    without = f", {empty} without a masked face" if empty else ""
    print(f"{len(jobs) - failed} of {len(jobs)} photos written{without}")
    if skipped:
        print(f"masked faces left as found, turned or hidden too far: {skipped}")
    return 1 if failed else 0


def _path(path: Path, engine: str) -> Path:
    """Ray's workers live in folders of their own."""
    return path.absolute() if engine == "ray" else path
