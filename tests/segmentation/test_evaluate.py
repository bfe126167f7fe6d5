"""The figures by hand, and networks side by side: any file, the same photos, one table."""

import json

import keras
import numpy as np
import pytest

from unmask.cli import main
from unmask.metrics import iou
from unmask.segmentation import detector
from unmask.segmentation.data import Example
from unmask.segmentation.evaluate import (
    EvaluationPhotos,
    Segmenter,
    boundary_f,
    evaluate_photos,
    instance_precision,
    load_segmenter,
    markdown_table,
    measure,
    precision_recall,
    read_photos,
    score_masks,
)
from unmask.segmentation.lite import build_unet
from unmask.segmentation.regions import MaskRegion
from unmask.weights import save_weights


def square(x0, y0, x1, y1, size=100):
    out = np.zeros((size, size), bool)
    out[y0:y1, x0:x1] = True
    return out


def test_half_overlap_by_hand():
    truth, found = square(0, 0, 20, 20), square(10, 0, 30, 20)
    scores = score_masks([(found, truth)])
    assert scores.iou == pytest.approx(200 / 600)
    assert (scores.precision, scores.recall) == (0.5, 0.5)
    assert scores.f1 == pytest.approx(0.5)


def test_empty_masks():
    nothing, something = square(0, 0, 0, 0), square(0, 0, 5, 5)
    assert precision_recall(nothing, something) == (1, 0)
    assert precision_recall(something, nothing) == (0, 1)
    assert boundary_f(nothing, something) == 0


def test_boundary_score_tolerates_one_pixel_and_not_ten():
    truth = square(20, 20, 70, 70)
    assert boundary_f(square(21, 21, 71, 71), truth) == pytest.approx(1, abs=0.01)
    # The same area scores well in IoU, its outline does not.
    ragged = truth.copy()
    ragged[20:70:2, 60:70] = False
    assert iou(ragged, truth) > 0.85
    assert boundary_f(ragged, truth) < 0.9


def test_means_are_over_pictures():
    truth = square(0, 0, 10, 10)
    scores = score_masks([(truth, truth), (square(50, 50, 60, 60), truth)])
    assert scores.pictures == 2
    assert scores.iou == pytest.approx(0.5)


def test_nothing_to_compare():
    with pytest.raises(ValueError, match="nothing to compare"):
        score_masks([])


def region(x0, y0, x1, y1, score):
    box = (float(x0), float(y0), float(x1), float(y1))
    return MaskRegion(box, score, np.ones((y1 - y0, x1 - x0), bool), (100, 100))


# IoU with a truth of 20 x 20 pixels at (0, 0): exact, 0.6, 0.
EXACT, CLOSE, ELSEWHERE = (0, 0, 20, 20), (0, 0, 12, 20), (50, 50, 70, 70)


def test_average_precision_ranks_the_masks_of_all_photos_together():
    truth = square(*EXACT)
    found = [
        [region(*EXACT, 0.9), region(*ELSEWHERE, 0.8)],
        [region(*EXACT, 0.7)],
        [],
    ]
    # Ranked: hit, miss, hit; three true masks. Precision 1 up to recall 1/3, 2/3 up to 2/3.
    expected = 1 / 3 * 1 + 1 / 3 * 2 / 3
    assert instance_precision(found, [truth] * 3, 0.5) == pytest.approx(expected)
    # Photo by photo, the mean would be (1 + 1 + 0) / 3.
    assert expected < 2 / 3


def test_average_precision_by_overlap():
    truth, close = square(*EXACT), [region(*CLOSE, 0.9)]
    assert instance_precision([close], [truth], 0.5) == 1
    assert instance_precision([close], [truth], 0.75) == 0


def test_a_second_mask_on_the_same_face_is_wrong():
    truth = square(*EXACT)
    double = [region(*EXACT, 0.9), region(*CLOSE, 0.8)]
    # The second one lies before the other photo's hit: precision 1, 1/2, 2/3.
    found = [double, [region(*EXACT, 0.7)]]
    assert instance_precision(found, [truth] * 2, 0.5) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_average_precision_without_masks():
    nothing = square(0, 0, 0, 0)
    assert instance_precision([[]], [nothing], 0.5) == 1
    assert instance_precision([[region(*EXACT, 0.9)]], [nothing], 0.5) == 0
    assert instance_precision([[]], [square(*EXACT)], 0.5) == 0


def test_photos_by_hand():
    truth = square(*EXACT).astype(np.uint8)
    photos = [
        Example(np.full((100, 100, 3), number, np.uint8), truth, (10.0, 10.0, 30.0))
        for number in range(3)
    ]
    answers = [[region(*EXACT, 0.9)], [region(*CLOSE, 0.8), region(*ELSEWHERE, 0.85)], []]
    scores = evaluate_photos(lambda photo: answers[photo[0, 0, 0]], photos)
    # The second photo: 240 common pixels, 640 found, 400 true.
    assert scores.pixels.iou == pytest.approx((1 + 240 / 800 + 0) / 3)
    assert (scores.missed, scores.false_alarms) == (1, 1)
    assert scores.ap50 == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    assert scores.ap75 == pytest.approx(1 / 3)


# === Side by side ===


@pytest.fixture(scope="module")
def weight_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    # Some random networks see hundreds of masks in a photo, which takes a minute to sort out.
    keras.utils.set_random_seed(0)
    save_weights(build_unet(), folder / "unet.safetensors")
    save_weights(detector.build_detector().keras_model, folder / "mrcnn.safetensors")
    return folder / "unet.safetensors", folder / "mrcnn.safetensors"


def test_the_file_says_which_network_it_is(weight_files):
    unet, mrcnn = (load_segmenter(path) for path in weight_files)
    assert (unet.name, mrcnn.name) == ("U-Net", "Mask R-CNN")
    assert unet.parameters == 2_911_281
    assert mrcnn.parameters > unet.parameters
    assert load_segmenter(weight_files[0], thorough=False).name == "U-Net, one look"


def test_every_part_of_a_data_folder_is_read(data_folder):
    assert not read_photos(data_folder, faces=0).bare
    photos = read_photos(data_folder)
    assert [len(part) for part in (photos.real, photos.pasted, photos.bare, photos.drawn)] == [
        1
    ] * 4
    bare, drawn = photos.bare[0], photos.drawn[0]
    changed = (bare != drawn.image).any(-1)
    # The same face, and nothing but the mask (and its soft edge) is new.
    assert drawn.mask.sum() > 1000
    assert changed[drawn.mask > 0].mean() > 0.9
    assert changed[drawn.mask == 0].mean() < 0.1


def test_rows_by_hand():
    truth = np.zeros((64, 64), np.uint8)
    truth[10:30, 10:40] = 1
    masked = Example(np.full((64, 64, 3), 200, np.uint8), truth, (25.0, 20.0, 60.0))
    bare = [np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 200, np.uint8)]

    def find(photo):
        whole = MaskRegion((10.0, 10.0, 40.0, 30.0), 0.9, np.ones((20, 30), bool), (64, 64))
        return [whole] if photo[0, 0, 0] else []

    row = measure(Segmenter("bright", find, 7), EvaluationPhotos([masked], bare=bare))
    assert (row.real.pixels.iou, row.real.ap75, row.real.missed) == (1, 1, 0)
    assert (row.bare, row.alarmed, row.pasted, row.drawn) == (2, 1, None, None)
    lines = markdown_table([row], 2).splitlines()
    cells = [cell.strip() for cell in lines[2].split("|")[1:-1]]
    assert cells[:9] == ["bright", "7", "1.000", "1.000", "1.000", "1.000", "1.000", "0", "0"]
    assert cells[9:12] == ["-", "-", "1 (50.0%)"]
    assert len(cells) == len(lines[0].split("|")) - 2
    assert "1 real validation photos" in lines[-1]


def test_the_command_writes_a_row_a_file(data_folder, weight_files, tmp_path, capsys):
    files = [str(path) for path in weight_files]
    arguments = ["--data", str(data_folder), "--out", str(tmp_path / "out"), "--weights", *files]
    assert main(["evaluate", "segmentation", *arguments]) == 0
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [row["file"] for row in written["networks"]] == files
    assert [row["name"] for row in written["networks"]] == ["U-Net", "Mask R-CNN"]
    assert all(0 <= row["real"]["pixels"]["iou"] <= 1 for row in written["networks"])
    table = (tmp_path / "out" / "evaluation.md").read_text()
    assert table.strip() in capsys.readouterr().out
