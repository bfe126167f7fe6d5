"""`unmask run`: photos in, photos without masks out."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unmask.pipeline import Unmasker
    from unmask.result import Result

_TOGETHER = 8


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "run",
        help="complete the masked faces of photos",
        description="Complete the masked faces of photos. A photo without a masked face is"
        " written unchanged; one that cannot be read is reported, and the others go on.",
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
    parser.add_argument("--gender", choices=("female", "male"), help="do not guess the gender")
    parser.add_argument("--seed", type=int, default=0, help="seed of the film grain (0)")
    parser.add_argument("--panel", action="store_true", help="also draw the steps, NAME-panel.png")
    parser.add_argument("--json", action="store_true", help="also write what was found, NAME.json")
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    """Run, report, and return the exit status: 1 if a photo failed."""
    from unmask.errors import ImageError
    from unmask.image import find_images
    from unmask.pipeline import Unmasker

    photos = find_images(args.inputs)
    if not photos:
        raise ImageError(f"no photos in {', '.join(map(str, args.inputs))}")
    unmasker = Unmasker(args.preset).load()
    failed = empty = 0
    with warnings.catch_warnings():
        # Photos without a masked face are counted below instead.
        warnings.filterwarnings("ignore", message=".*no masked face found")
        for source, target, outcome in _results(unmasker, photos, args):
            if isinstance(outcome, Exception):
                failed += 1
                print(f"unmask: {_named(source, outcome)}", file=sys.stderr)
                continue
            try:
                _write(outcome, target, args)
            except (ImageError, OSError) as error:
                failed += 1
                print(f"unmask: {_named(target, error)}", file=sys.stderr)
                continue
            empty += not outcome.faces
    done = len(photos) - failed
    print(f"{done} of {len(photos)} photos written, {empty} without a masked face")
    return 1 if failed else 0


def _results(
    unmasker: Unmasker, photos: list[Path], args: argparse.Namespace
) -> Iterator[tuple[Path, Path, Result | Exception]]:
    """Yield source, target and result or error of each photo, a few at a time."""
    from rich.progress import track

    targets = dict(zip(photos, _targets(photos, args.out), strict=True))
    groups = [photos[i : i + _TOGETHER] for i in range(0, len(photos), _TOGETHER)]
    shown: Iterable[list[Path]] = track(groups, "completing", disable=not sys.stderr.isatty())
    for group in shown:
        for photo, outcome in _outcomes(unmasker, group, args):
            yield photo, targets[photo], outcome


def _outcomes(
    unmasker: Unmasker, group: list[Path], args: argparse.Namespace
) -> list[tuple[Path, Result | Exception]]:
    """Complete a group of photos together; load one by one, so that one bad file stays alone."""
    from unmask.errors import ImageError
    from unmask.image import Photo, load_photo
    from unmask.pipeline import MIN_SIDE

    outcomes: dict[Path, Result | Exception] = {}
    loaded: dict[Path, Photo] = {}
    for path in group:
        try:
            loaded[path] = load_photo(path, min_side=MIN_SIDE)
        except (ImageError, OSError) as error:
            outcomes[path] = error
    results = unmasker(list(loaded.values()), gender=args.gender, seed=args.seed)
    outcomes |= dict(zip(loaded, results, strict=True))
    return [(path, outcomes[path]) for path in group]


def _targets(photos: list[Path], out: Path) -> list[Path]:
    """Choose a file for each photo: lossless, and no two the same."""
    if len(photos) == 1 and out.suffix and not out.is_dir():
        return [out]
    targets: list[Path] = []
    taken: set[str] = set()
    for photo in photos:
        name, number = photo.stem, 2
        while name in taken:
            name, number = f"{photo.stem}-{number}", number + 1
        taken.add(name)
        targets.append(out / f"{name}.png")
    return targets


def _write(result: Result, target: Path, args: argparse.Namespace) -> None:
    from unmask.io import atomic_path, write_text_atomic

    result.save(target)
    if args.json:
        content: dict[str, Any] = {"faces": [face.to_dict() for face in result.faces]}
        write_text_atomic(target.with_suffix(".json"), json.dumps(content, indent=2) + "\n")
    if args.panel:
        with atomic_path(target.with_name(f"{target.stem}-panel.png")) as temporary:
            result.panel().savefig(temporary, dpi=110)


def _named(path: Path, error: Exception) -> str:
    text = str(error)
    return text if str(path) in text else f"{path}: {text}"
