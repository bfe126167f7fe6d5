"""Networks side by side: any weight file, the same photos, one table."""

import json

import keras
import numpy as np
import pytest

from unmask.cli import main
from unmask.errors import WeightsError
from unmask.segmentation import detector
from unmask.segmentation.comparison import (
    EvaluationPhotos,
    Segmenter,
    load_segmenter,
    markdown_table,
    measure,
    read_photos,
)
from unmask.segmentation.model import LITE, build_unet
from unmask.segmentation.regions import MaskRegion
from unmask.segmentation.sources import Example
from unmask.weights import save_arrays, save_weights


@pytest.fixture(scope="module")
def weight_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    # Some random networks see hundreds of masks in a photo, which takes a minute to sort out.
    keras.utils.set_random_seed(0)
    save_weights(build_unet(**LITE), folder / "unet.safetensors")
    save_weights(detector.build_detector().keras_model, folder / "mrcnn.safetensors")
    return folder / "unet.safetensors", folder / "mrcnn.safetensors"


def test_the_file_says_which_network_it_is(weight_files, tmp_path):
    unet, mrcnn = (load_segmenter(path) for path in weight_files)
    assert (unet.name, mrcnn.name) == ("U-Net", "Mask R-CNN")
    assert unet.parameters == build_unet(**LITE).count_params()
    assert mrcnn.parameters > unet.parameters
    assert load_segmenter(weight_files[0], thorough=False).name == "U-Net, one look"
    save_arrays(tmp_path / "other.safetensors", {"dense/kernel": np.zeros((2, 2), np.float32)})
    with pytest.raises(WeightsError, match="Neither a Mask R-CNN nor a small U-Net"):
        load_segmenter(tmp_path / "other.safetensors")


def test_every_part_of_a_data_folder_is_read(data_folder):
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
