"""One signature for all systems, and their comparison."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from unmask.errors import DataError, SettingError, WeightsError
from unmask.evaluation.comparison import MaskedFace, compare
from unmask.rivals import KEPT, SYSTEMS, edgeconnect, load_system
from unmask.rivals.completion import SIDE, completer


def photo(height, width, seed=0):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    hole = np.zeros((height, width), bool)
    hole[height // 3 : 2 * height // 3, width // 4 : width // 2] = True
    return image, hole


@pytest.mark.parametrize("size", [(256, 256), (300, 200), (64, 96), (700, 900)])
def test_known_pixels_stay_and_hidden_ones_have_no_influence(size):
    seen = []

    def paint(image, mask, seed):
        seen.append((image.copy(), mask.copy()))
        return image * (1 - mask) + 0.25 * mask

    complete = completer(paint)
    image, hole = photo(*size)
    result = complete(image, hole)
    assert (result.shape, result.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(result[~hole], image[~hole])
    inner = cv2.erode(hole.astype(np.uint8), np.ones((9, 9))) > 0
    assert (np.abs(result[inner].astype(int) - 63) <= 1).all()
    other = np.where(hole[..., None], 255 - image, image)
    np.testing.assert_array_equal(complete(other, hole), result)
    for given, mask in seen:
        assert given.shape == (1, SIDE, SIDE, 3)
        assert mask.shape == (1, SIDE, SIDE, 1)
        assert not given[mask[..., 0] > 0].any()
    # Nothing is stretched: the hole keeps its share of the mirrored square.
    scale = SIDE / max(size)
    mask = seen[0][1][0, : round(size[0] * scale), : round(size[1] * scale), 0]
    assert mask.sum() == pytest.approx(hole.sum() * scale**2, rel=0.15)


def test_at_256_pixels_the_network_sees_the_photo_itself():
    image, hole = photo(256, 256)

    def paint(given, mask, seed):
        np.testing.assert_array_equal(mask[0, ..., 0] > 0, hole)
        np.testing.assert_array_equal(given[0][~hole], image[~hole].astype(np.float32) / 255.0)
        return given

    completer(paint)(image, hole)
    empty = np.zeros_like(hole)
    np.testing.assert_array_equal(completer(paint)(image, empty), image)


def test_unfit_images_and_holes_are_refused():
    complete, (image, hole) = completer(lambda image, mask, seed: image), photo(64, 64)
    for bad in ((image[..., 0], hole), (image / 255.0, hole), (image, hole[1:]),
                (image, hole.astype(np.uint8))):  # fmt: skip
        with pytest.raises(ValueError, match=r"must be .* Received: shape="):
            complete(*bad)


def test_edges_end_at_the_hole_and_do_not_see_into_it():
    image, hole = photo(128, 128)
    image[:, 60:] = 255 - image[:, 60:]
    _, edges = edgeconnect.find_edges(image / np.float32(255), hole)
    assert set(np.unique(edges)) == {0.0, 1.0}
    assert not edges[hole].any()
    changed = np.where(hole[..., None], 0.5, image / np.float32(255)).astype(np.float32)
    np.testing.assert_array_equal(edgeconnect.find_edges(changed, hole)[1], edges)
    red = np.zeros((4, 4, 3), np.float32)
    red[..., 0] = 1
    assert edgeconnect.find_edges(red, np.zeros((4, 4), bool))[0] == pytest.approx(0.2125)


def test_missing_weights_are_named_with_their_source(tmp_path):
    (tmp_path / "edgeconnect").mkdir()
    (tmp_path / "edgeconnect" / "EdgeModel_gen.pth").touch()
    for name, system in SYSTEMS.items():
        if name in ("lite", "paper"):  # this package's own
            continue
        for weights in (None, tmp_path):
            with pytest.raises(WeightsError, match=system.title) as caught:
                load_system(name, weights)
            assert system.source in str(caught.value)
            assert (system.files or ((KEPT,),))[0][0] in str(caught.value)
            assert system.recipe in str(caught.value)
    with pytest.raises(SettingError, match=r"deepfill2.*Received: system='deepfill3'"):
        load_system("deepfill3")


def test_the_list_of_systems_loads_nothing_heavy():
    code = "import sys, unmask.rivals; assert not {'keras', 'tensorflow', 'cv2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def systems(monkeypatch):
    """Three systems: one paints the truth's mean, one gray by its seed, one is not there."""
    from unmask.evaluation import comparison

    def load(name, weights):
        if name == "aot":
            raise WeightsError("AOT-GAN: G*.pt not in nowhere. From there")
        level = {"lite": 0.5, "pluralistic": 0.2}[name]
        return completer(lambda image, mask, seed: np.full_like(image, level + 0.1 * seed))

    monkeypatch.setattr(comparison, "load_system", load)


def masked_face(seed):
    image, hole = photo(256, 256, seed)
    truth = np.full_like(image, 127)
    return MaskedFace(f"face{seed}", image, truth, hole, np.zeros((98, 2), np.float32))


def test_a_comparison_scores_draws_and_names_what_is_missing(systems, tmp_path):
    faces = [masked_face(1), masked_face(2)]
    comparison = compare(faces, ["pluralistic", "lite", "aot", "lite"])
    assert list(comparison.scores) == ["pluralistic", "lite"]
    lite, other = comparison.scores["lite"], comparison.scores["pluralistic"]
    assert (lite.count, lite.perceptual) == (2, None)
    assert lite.psnr_hole > 60 or np.isinf(lite.psnr_hole)
    assert other.psnr_hole == pytest.approx(-20 * np.log10((127 - 51) / 255), abs=1e-3)
    assert other.ssim < lite.ssim <= 1
    assert list(comparison.columns) == [*(f"Pluralistic {n}" for n in (1, 2, 3)), "ours, lite"]
    levels = [comparison.columns[f"Pluralistic {n}"][0][faces[0].hole][0, 0] for n in (1, 2, 3)]
    assert levels == sorted(set(levels))
    comparison.write(tmp_path)
    table = (tmp_path / "comparison.md").read_text()
    assert f"| Pluralistic | 2 | {other.psnr_hole:.2f} |" in table
    assert "AOT-GAN: G*.pt not in nowhere. From there" in table
    assert {path.name for path in tmp_path.iterdir()} == {
        "comparison.md", "comparison.json", "comparison.png",
    }  # fmt: skip
    titles = [axes.get_title() for axes in comparison.figure(rows=1).axes]
    assert titles == ["masked", *comparison.columns, "truth"]


def test_features_add_a_perceptual_distance(systems):
    def features(images):
        return [images, 2 * images], []

    scores = compare([masked_face(1)], ["pluralistic"], features=features).scores["pluralistic"]
    hidden = masked_face(1).hole.mean()
    assert scores.perceptual == pytest.approx(3 * hidden * (127 - 51) / 255, rel=1e-4)


def test_a_comparison_of_nothing_is_refused(systems):
    with pytest.raises(DataError, match="no faces"):
        compare([], ["lite"])
    with pytest.raises(DataError, match="nothing to compare: AOT-GAN"):
        compare([masked_face(1)], ["aot"])


def test_ours_completes_under_the_same_signature():
    complete = load_system("lite")
    image, hole = photo(256, 256)
    hole[:] = False
    hole[130:220, 80:176] = True
    result = complete(image, hole, seed=1)
    np.testing.assert_array_equal(result[~hole], image[~hole])
    assert (result[hole] != image[hole]).mean() > 0.5
