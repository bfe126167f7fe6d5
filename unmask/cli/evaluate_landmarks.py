"""`unmask evaluate landmarks`: errors on held-out faces, bare and masked, by part of the face."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unmask.data.faces import FaceRecord
    from unmask.landmarks.evaluate import LandmarkScores, Locator

_FITTED_ON = 200  # training faces that the learnt correspondence is fitted on


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "--data", type=Path,
        help="folder of faces with landmarks98.npz or landmarks68.npz, e.g. landmarks_300w",
    )  # fmt: skip
    parser.add_argument("--split", default="test", help="split of the faces (test)")
    parser.add_argument("--count", type=int, help="number of faces, evenly spread (all)")
    parser.add_argument("--wflw-list", type=Path, help="list_98pt_rect_attr_test.txt of WFLW")
    parser.add_argument("--wflw-images", type=Path, help="folder WFLW_images")
    parser.add_argument("--weights", type=Path, help="lite weights (default: the shipped ones)")
    parser.add_argument("--published", type=Path, help="WFLW_4HG.pth: evaluate this network too")
    parser.add_argument(
        "--pfld", type=Path, help="ONNX file of a PFLD with 98 points: evaluate it too"
    )
    parser.add_argument("--passes", type=int, default=2, help="passes through a network (2)")
    parser.add_argument(
        "--mirror", action="store_true", help="our networks also look at the mirrored crops"
    )
    parser.add_argument(
        "--thorough", action="store_true", help="and at two more, as `unmask run` does"
    )
    parser.add_argument(
        "--learnt", action="store_true",
        help="for 68 true points: also through a correspondence learnt from the split 'train'",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of masks and first crops (0)")
    parser.add_argument("--out", type=Path, help="also write the table to this file")


def main(args: argparse.Namespace) -> int:
    """Print a table, and write it if asked."""
    from unmask.errors import UnmaskError
    from unmask.io import write_text_atomic
    from unmask.landmarks.evaluate import markdown_table

    if args.data is None and args.wflw_list is None:
        print("unmask evaluate landmarks: give --data or --wflw-list", file=sys.stderr)
        return 2
    try:
        table = markdown_table(_scores(args))
    except (UnmaskError, ImportError) as error:
        print(f"unmask evaluate landmarks: {error}", file=sys.stderr)
        return 2
    print(table)
    if args.out:
        write_text_atomic(args.out, table + "\n")
    return 0


def _scores(args: argparse.Namespace) -> dict[str, LandmarkScores]:
    """Run every network on everything that was asked for."""
    from rich.console import Console
    from rich.progress import track

    from unmask.landmarks.evaluate import evaluate_wflw
    from unmask.landmarks.readers import read_wflw

    scores: dict[str, LandmarkScores] = {}
    locators = list(_locators(args).items())
    for name, locator in track(locators, "networks", console=Console(stderr=True)):
        if args.data is not None:
            scores |= {f"{name}, {row}": s for row, s in _on_folder(args, locator).items()}
        if args.wflw_list is not None:
            images = args.wflw_images or args.wflw_list.parents[2] / "WFLW_images"
            subsets = evaluate_wflw(locator, read_wflw(args.wflw_list, images))
            scores |= {f"{name}, WFLW {row}": s for row, s in subsets.items()}
    return scores


def _locators(args: argparse.Namespace) -> dict[str, Locator]:
    from unmask.landmarks.convert import load_published
    from unmask.landmarks.evaluate import network_locator
    from unmask.landmarks.model import LITE, build_fan
    from unmask.landmarks.onnx import PfldLocator
    from unmask.weights import find, load_weights

    lite = build_fan(**LITE)
    load_weights(lite, args.weights or find("lite", "landmarks").path)
    options = {"passes": args.passes, "mirror": args.mirror, "thorough": args.thorough}
    locators: dict[str, Locator] = {"lite": network_locator(lite, **options)}
    if args.published:
        locators["published"] = network_locator(load_published(args.published)[0], **options)
    if args.pfld:
        locators["PFLD"] = PfldLocator(args.pfld, passes=args.passes)
    return locators


def _on_folder(args: argparse.Namespace, locator: Locator) -> dict[str, LandmarkScores]:
    """Rows of one network on the faces of a folder."""
    from unmask.data.faces import read_face_folder
    from unmask.errors import DataError
    from unmask.landmarks.evaluate import locate_all, score_located

    records = _spread(read_face_folder(args.data, split=args.split), args.count)
    if not records:
        raise DataError(f"{args.data}: no faces of the split {args.split!r}")
    located = locate_all(locator, records, seed=args.seed)
    fixed = score_located(located)
    rows = {"bare": fixed.unmasked, "masked": fixed.masked}
    if args.learnt:
        from unmask.landmarks.correspondence import fit_correspondence

        training = _spread(read_face_folder(args.data, split="train"), _FITTED_ON)
        seen = locate_all(locator, training, seed=args.seed)
        # Bare faces alone: the map is to tell layouts apart, not to make up for what masks do.
        learnt = score_located(located, fit_correspondence(seen.unmasked, seen.truth))
        rows |= {"bare, learnt map": learnt.unmasked, "masked, learnt map": learnt.masked}
    return rows


def _spread(records: Sequence[FaceRecord], count: int | None) -> list[FaceRecord]:
    import numpy as np

    if count is None or count >= len(records):
        return list(records)
    return [records[i] for i in np.linspace(0, len(records) - 1, count).astype(int)]
