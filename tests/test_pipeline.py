"""The pipeline with the shipped weights, on the astronaut and on pictures without faces."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from unmask import Unmasker, run
from unmask.demo import portraits, wear_mask
from unmask.errors import ImageError, PhotoWarning, WeightsError
from unmask.face import canonical_matrix, steady_matrix, warp
from unmask.image import load_image
from unmask.landmarks.predict import locate_landmarks


@pytest.fixture(scope="module")
def unmasker():
    return Unmasker()


@pytest.fixture(scope="module")
def portrait():
    return portraits()[0]


@pytest.fixture(scope="module")
def masked(unmasker, portrait):
    return wear_mask(unmasker, portrait)


@pytest.fixture(scope="module")
def result(unmasker, masked):
    return unmasker(masked)


def test_finds_the_one_face(result, masked, portrait):
    assert len(result.faces) == 1
    face = result.faces[0]
    x0, y0, x1, y1 = face.box
    assert x0 < portrait.center[0] < x1
    assert y0 < portrait.center[1] < y1
    assert 0.6 < face.score <= 1
    assert 0.5 <= face.gender_confidence <= 1
    assert face.landmarks.shape == (98, 2)
    assert face.crop_before.shape == face.crop_after.shape == (256, 256, 3)
    assert result.image.shape == masked.shape
    assert "1 masked face" in repr(result)


def test_covers_the_mask(result, masked, portrait):
    drawn = np.abs(masked.astype(int) - portrait.image).max(-1) > 40
    changed = result.faces[0].mask
    assert (drawn & changed).sum() / drawn.sum() > 0.9


def test_the_worn_mask_is_what_was_drawn(result, masked, portrait):
    drawn = np.abs(masked.astype(int) - portrait.image).max(-1) > 40
    face = result.faces[0]
    assert (drawn & face.worn).sum() / drawn.sum() > 0.85
    assert not (face.worn & ~face.mask).any()
    assert face.worn.sum() < face.mask.sum()


def test_known_pixels_are_untouched(result, masked):
    outside = ~result.faces[0].mask
    np.testing.assert_array_equal(result.image[outside], masked[outside])
    assert (result.image != masked).any()


def test_known_pixels_survive_png(result, masked, tmp_path):
    result.save(tmp_path / "result.png")
    outside = ~result.faces[0].mask
    np.testing.assert_array_equal(load_image(tmp_path / "result.png")[outside], masked[outside])


def test_brings_the_truth_nearer(result, masked, portrait):
    hole = result.faces[0].mask
    truth = portrait.image[hole].astype(float)
    before = np.mean((masked[hole] - truth) ** 2)
    after = np.mean((result.image[hole] - truth) ** 2)
    assert after < before / 4


def test_same_call_same_pixels(unmasker, result, masked):
    np.testing.assert_array_equal(unmasker(masked).image, result.image)


def test_every_kind_of_source_gives_the_same(unmasker, result, masked, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(masked).save(path)
    content = path.read_bytes()
    for source in (path, str(path), content, io.BytesIO(content), Image.fromarray(masked)):
        np.testing.assert_array_equal(load_image(source), masked)
    np.testing.assert_array_equal(unmasker(path).image, result.image)


def test_the_crop_after_is_of_the_result(unmasker, result, masked):
    side_by_side = np.concatenate([masked, masked[:, ::-1]], axis=1)
    found = unmasker(side_by_side)
    assert len(found.faces) == 2
    for face in found.faces:
        again = warp(found.image, steady_matrix(canonical_matrix(face.landmarks)), 256)
        shown = face.crop_after.any(-1)
        np.testing.assert_array_equal(face.crop_after[shown], again[shown])


def test_what_is_painted_into_a_result_is_saved_and_changes_no_photo(unmasker, tmp_path):
    photo = np.full((80, 120, 3), 90, np.uint8)
    with pytest.warns(PhotoWarning):
        found = unmasker(photo)
    found.image[:10] = 0
    assert (found.original == 90).all()
    found.save(tmp_path / "edited.png")
    assert (load_image(tmp_path / "edited.png")[:10] == 0).all()


@pytest.mark.parametrize("seed", [-1, 1.5, "a", None])
def test_a_seed_is_a_whole_number(unmasker, masked, seed):
    with pytest.raises(ValueError, match="seed=" + repr(seed).replace(".", r"\.")):
        unmasker(masked, seed=seed)


def test_landmarks_beyond_the_photo_are_refused(unmasker, result, masked):
    with pytest.raises(ValueError, match=r"must be in the photo's \d+ x \d+ pixels"):
        unmasker(masked, landmarks=result.faces[0].landmarks + 1e9)


def test_lists_are_batched(unmasker, result, masked):
    empty = np.full((80, 120, 3), 90, np.uint8)
    with pytest.warns(UserWarning, match="no masked face"):
        first, second, third = unmasker([masked, empty, masked])
    assert np.abs(first.image.astype(int) - result.image).max() <= 2
    assert second.faces == []
    np.testing.assert_array_equal(third.image, first.image)
    assert unmasker([]) == []


@pytest.mark.parametrize("shape", [(64, 64), (64, 900), (333, 71)])
def test_without_a_face_nothing_is_invented(unmasker, shape):
    photo = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    with pytest.warns(UserWarning, match="no masked face"):
        found = unmasker(photo)
    assert found.faces == []
    np.testing.assert_array_equal(found.image, photo)
    assert "no masked face" in repr(found)


def test_an_unmasked_face_stays(unmasker, portrait):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = unmasker(portrait.image)
    np.testing.assert_array_equal(found.image, portrait.image)


@pytest.fixture
def turned(monkeypatch):
    """Let three views of every face disagree, as those of a profile do."""

    def locate(*args, **kwargs):
        found = locate_landmarks(*args, **kwargs)
        unsure = np.minimum(found.confidence, np.float32(0.2))
        return replace(found, spread=np.full_like(unsure, 0.02), confidence=unsure)

    monkeypatch.setattr("unmask.pipeline.locate_landmarks", locate)


def test_a_turned_head_is_left_and_told_of(unmasker, masked, result, turned):
    with pytest.warns(PhotoWarning, match=r"1 masked face\(s\) left as found"):
        plain, found = unmasker([np.full((80, 120, 3), 90, np.uint8), masked])
    assert plain.skipped == found.faces == []
    np.testing.assert_array_equal(found.image, masked)
    ((x0, y0, x1, y1),) = found.skipped
    rows, columns = np.nonzero(result.faces[0].worn)
    edges = [columns.min(), rows.min(), columns.max(), rows.max()]
    np.testing.assert_allclose([x0, y0, x1, y1], edges, atol=3)
    assert "1 left as found" in repr(found)
    assert found.panel().axes[0].get_title().startswith("left as it is")


def test_who_gives_the_mask_or_the_landmarks_decides(unmasker, masked, result, turned):
    for given in ({"mask": result.faces[0].mask}, {"landmarks": result.faces[0].landmarks}):
        found = unmasker(masked, **given)
        assert len(found.faces) == 1
        assert found.skipped == []


def test_gender_can_be_chosen(unmasker, masked):
    female, male = (unmasker(masked, gender=g) for g in ("female", "male"))
    assert (female.faces[0].gender, female.faces[0].gender_confidence) == ("female", 1.0)
    assert male.faces[0].gender == "male"
    assert (female.image != male.image).any()


def test_a_given_mask_is_used(unmasker, result, masked):
    mask = np.zeros(masked.shape[:2], np.uint8)
    mask[130:160, 195:255] = 255
    found = unmasker(masked, mask=mask)
    changed = found.faces[0].mask
    assert changed[mask > 0].all()
    rows, columns = np.nonzero(changed)
    # The hole is the mask grown by a few pixels of the crop.
    assert rows.min() > 118
    assert rows.max() < 172
    assert columns.min() > 183
    assert columns.max() < 267


@pytest.mark.parametrize("count", [98, 68])
def test_given_landmarks_are_used(unmasker, result, masked, count):
    from unmask.landmark_layout import POINTS_98_TO_68

    points = result.faces[0].landmarks
    if count == 68:
        points = points[POINTS_98_TO_68]
    found = unmasker(masked, landmarks=points)
    np.testing.assert_allclose(found.faces[0].landmarks, points)
    assert (found.image != masked).any()


def test_panel(result, tmp_path):
    figure = result.panel()
    assert len(figure.axes) == 4
    figure.savefig(tmp_path / "panel.png")
    assert load_image(tmp_path / "panel.png").std() > 10


def test_json_values(result):
    import json

    content = json.loads(json.dumps(result.faces[0].to_dict()))
    assert content["gender"] == result.faces[0].gender
    assert np.shape(content["landmarks"]) == (98, 2)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"gender": "other"}, "gender='other'"),
        ({"mask": np.zeros((5, 5))}, "its photo's size, 512 x 512 pixels. Received: 5 x 5"),
        ({"mask": np.full((512, 512), np.nan)}, "NaN"),
        ({"landmarks": np.zeros((5, 2))}, r"shape=\(5, 2\)"),
        ({"landmarks": np.full((98, 2), np.nan)}, "finite"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_wrong_options(unmasker, masked, options, text):
    with pytest.raises(ValueError, match=text):
        unmasker(masked, **options)


def test_too_small():
    with pytest.raises(ImageError, match="64"):
        run(np.zeros((63, 200, 3), np.uint8))


def test_unknown_preset():
    with pytest.raises((WeightsError, ValueError), match="huge"):
        run(np.zeros((64, 64, 3), np.uint8), preset="huge")


def test_mask_of_a_list_is_refused(unmasker, masked):
    with pytest.raises(ValueError, match="one photo"):
        unmasker([masked], mask=np.zeros(masked.shape[:2]))


def test_import_is_light():
    code = (
        "import sys, unmask;"
        "heavy = {'tensorflow', 'keras', 'cv2', 'matplotlib', 'pandas', 'skimage'};"
        "raise SystemExit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
