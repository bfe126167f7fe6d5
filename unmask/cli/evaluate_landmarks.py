"""`unmask evaluate landmarks`: errors on held-out faces, bare and masked, by part of the face."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unmask.cli.arguments import ExistingDirectory, ExistingFile, File, PositiveInt, Seed
from unmask.cli.progress import track

if TYPE_CHECKING:
    from unmask.data.record import FaceRecord
    from unmask.landmarks.evaluate import LandmarkScores, Locator

_FITTED_ON = 200  # training faces that the learnt correspondence is fitted on


def evaluate_landmarks(
    *,
    data: ExistingDirectory | None = None,
    split: str = "test",
    count: PositiveInt | None = None,
    wflw_list: ExistingFile | None = None,
    wflw_images: ExistingDirectory | None = None,
    weights: ExistingFile | None = None,
    published: ExistingFile | None = None,
    pfld: ExistingFile | None = None,
    passes: PositiveInt = 2,
    mirror: bool = False,
    thorough: bool = False,
    learnt: bool = False,
    seed: Seed = 0,
    out: File | None = None,
) -> None:
    """Measure landmark networks on held-out faces, bare and masked, by part of the face.

    Args:
        data: Folder of faces with landmarks98.npz or landmarks68.npz, e.g. landmarks_300w.
        split: Split of the faces.
        count: Number of faces, evenly spread. Default: all.
        wflw_list: list_98pt_rect_attr_test.txt of WFLW.
        wflw_images: Folder WFLW_images. Default: beside the list's folder.
        weights: Lite weights. Default: the shipped ones.
        published: WFLW_4HG.pth: measure this network too.
        pfld: ONNX file of a PFLD with 98 points: measure it too.
        passes: Passes through a network.
        mirror: Our networks also look at the mirrored crops.
        thorough: And at two more, as `unmask run` does.
        learnt: For 68 true points: also through a correspondence learnt from the split "train".
        seed: Seed of masks and first crops.
        out: Also write the table to this file.
    """
    from unmask.errors import SettingError

    if data is None and wflw_list is None:
        raise SettingError("give --data or --wflw-list")

    from unmask.data.faces import face_folder_files
    from unmask.io import write_text_atomic
    from unmask.landmarks.data import read_wflw
    from unmask.landmarks.evaluate import evaluate_wflw, markdown_table
    from unmask.paths import check_outputs

    if out:
        inputs = [path for path in (weights, published, pfld, wflw_list) if path]
        check_outputs([out], inputs if data is None else [*inputs, *face_folder_files(data)])
    locators = _locators(weights, published, pfld, passes, mirror=mirror, thorough=thorough)
    scores: dict[str, LandmarkScores] = {}
    for name, locator in track(locators.items(), "networks"):
        if data is not None:
            faces = _spread(data, split, count)
            fitted_on = _spread(data, "train", _FITTED_ON) if learnt else []
            rows = _on_folder(locator, faces, fitted_on, seed)
            scores |= {f"{name}, {row}": s for row, s in rows.items()}
        if wflw_list is not None:
            images = wflw_images or wflw_list.parents[2] / "WFLW_images"
            subsets = evaluate_wflw(locator, read_wflw(wflw_list, images))
            scores |= {f"{name}, WFLW {row}": s for row, s in subsets.items()}
    table = markdown_table(scores)
    print(table)
    if out:
        write_text_atomic(out, table + "\n")


def _locators(
    weights: Path | None,
    published: Path | None,
    pfld: Path | None,
    passes: int,
    *,
    mirror: bool,
    thorough: bool,
) -> dict[str, Locator]:
    from unmask.landmarks.convert import load_published
    from unmask.landmarks.evaluate import PfldLocator, network_locator
    from unmask.landmarks.lite import build_lite
    from unmask.weights import find, load_weights

    lite = build_lite()
    load_weights(lite, weights or find("lite", "landmarks").path)
    networks = {"lite": lite}
    if published:
        networks["published"] = load_published(published)[0]
    locators: dict[str, Locator] = {
        name: network_locator(network, passes=passes, mirror=mirror, thorough=thorough)
        for name, network in networks.items()
    }
    if pfld:
        locators["PFLD"] = PfldLocator(pfld, passes=passes)
    return locators


def _on_folder(
    locator: Locator, faces: Sequence[FaceRecord], fitted_on: Sequence[FaceRecord], seed: int
) -> dict[str, LandmarkScores]:
    """Rows of one network; a correspondence is fitted where there are faces for it."""
    from unmask.landmarks.evaluate import fit_correspondence, locate_all, score_located

    located = locate_all(locator, faces, seed=seed)
    fixed = score_located(located)
    rows = {"bare": fixed.unmasked, "masked": fixed.masked}
    if fitted_on:
        seen = locate_all(locator, fitted_on, seed=seed)
        # Bare faces alone: the map is to tell layouts apart, not to make up for what masks do.
        learnt = score_located(located, fit_correspondence(seen.unmasked, seen.truth))
        rows |= {"bare, learnt map": learnt.unmasked, "masked, learnt map": learnt.masked}
    return rows


def _spread(folder: Path, split: str, count: int | None) -> list[FaceRecord]:
    import numpy as np

    from unmask.data.faces import read_face_folder
    from unmask.errors import DataError

    records = read_face_folder(folder, split=split)
    if not records:
        raise DataError(f"{folder}: no faces of the split {split!r}")
    if count is None or count >= len(records):
        return records
    return [records[i] for i in np.linspace(0, len(records) - 1, count).astype(int)]
