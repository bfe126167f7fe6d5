"""Finding masks with either network, alone and in the pipeline."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import MappingProxyType

import keras
import numpy as np
import pytest

from unmask import Unmasker, presets
from unmask.demo import portraits, wear_mask
from unmask.errors import WeightsError
from unmask.metrics import iou
from unmask.mrcnn.model import MaskRCNN
from unmask.presets import PRESETS, Preset
from unmask.segmentation import detector, paper
from unmask.segmentation.finder import MaskRCNNFinder, UNetFinder, load_finder
from unmask.segmentation.lite import build_unet
from unmask.segmentation.regions import MaskRegion
from unmask.weights import file_sha256, read_manifest, save_arrays, save_weights

# Top, left, bottom and right of a mask in a portrait, as shares of its sides.
PLACE = (0.60, 0.28, 0.92, 0.72)
SCORE = 0.9


def see_a_mask_at(model: keras.Model, place: tuple[float, ...], score: float) -> None:
    """Let a Mask R-CNN see one mask, a rectangle, at the same place of every square photo."""
    rpn = model.get_layer("rpn_model")
    # Every anchor grows until it is the whole photo; one of these equal proposals is kept.
    _set_bias(rpn.get_layer("rpn_class_raw"), 0.0)
    _set_bias(rpn.get_layer("rpn_bbox_pred"), np.array([0.0, 0.0, 50.0, 50.0]))
    top, left, bottom, right = place
    center = np.array([(top + bottom) / 2, (left + right) / 2]) - 0.5
    deltas = np.concatenate([center / 0.1, np.log([bottom - top, right - left]) / 0.2])
    _set_bias(model.get_layer("mrcnn_bbox_fc"), deltas)
    _set_bias(model.get_layer("mrcnn_class_logits"), np.array([0.0, np.log(score / (1 - score))]))
    _set_bias(model.get_layer("mrcnn_mask"), 5.0)


def _set_bias(layer: keras.layers.Layer, values: np.ndarray | float) -> None:
    kernel, bias = layer.get_weights()
    layer.set_weights([np.zeros_like(kernel), np.resize(values, bias.shape)])


@pytest.fixture(scope="module")
def unet_finder(blue_network: keras.Model) -> UNetFinder:
    return UNetFinder(blue_network)


@pytest.fixture(scope="module")
def mrcnn_finder() -> MaskRCNNFinder:
    """Untrained, and not shy: masks of many sizes and scores."""
    keras.utils.set_random_seed(3)
    settings = detector.LiteConfig()
    settings.IMAGE_MIN_DIM = settings.IMAGE_MAX_DIM = 128
    settings.DETECTION_MIN_CONFIDENCE = 0.0
    return MaskRCNNFinder(MaskRCNN("inference", settings, "logs"))


@pytest.fixture(scope="module")
def weight_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Mask R-CNN that sees a mask at `PLACE`."""
    path = tmp_path_factory.mktemp("run") / "detector.safetensors"
    model = detector.build_detector().keras_model
    see_a_mask_at(model, PLACE, SCORE)
    save_weights(model, path)
    assert path.stat().st_size < 25e6  # the package has room for so much
    return path


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """A face in a drawn mask, framed like a crop, so that `PLACE` is the same in both."""
    return wear_mask(Unmasker(), portraits()[0])[20:184, 143:307]


@pytest.fixture
def one_proposal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let networks that see a mask everywhere look at one proposal only."""
    for settings in (detector.LiteConfig, paper.PaperConfig):
        monkeypatch.setattr(settings, "POST_NMS_ROIS_INFERENCE", 1)


@pytest.fixture
def blue_photo() -> np.ndarray:
    photo = np.random.default_rng(0).integers(60, 120, (180, 240, 3)).astype(np.uint8)
    photo[20:50, 30:60] = photo[80:160, 120:220] = (0, 0, 255)
    return photo


# === What both keep to ===


@pytest.mark.parametrize("kind", ["unet_finder", "mrcnn_finder"])
def test_masks_lie_in_the_photo_largest_first(kind, blue_photo, request):
    finder = request.getfixturevalue(kind)
    regions = finder.find(blue_photo, min_score=0.0)
    assert len(regions) > 1
    areas = [region.area for region in regions]
    assert areas == sorted(areas, reverse=True)
    assert areas[-1] > 0
    for region in regions:
        rows, columns = np.nonzero(region.mask)
        assert region.mask.shape == blue_photo.shape[:2]
        tight = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert region.box == tight
        assert 0 <= region.score <= 1


@pytest.mark.parametrize("kind", ["unet_finder", "mrcnn_finder"])
def test_what_is_less_sure_is_left_out(kind, blue_photo, request):
    finder = request.getfixturevalue(kind)
    # A pale patch, of which a U-Net is less sure.
    blue_photo[80:160, 120:220] = (110, 110, 250)
    everything = finder.find(blue_photo, min_score=0.0)
    scores = sorted(region.score for region in everything)
    assert scores[0] < scores[-1]
    limit = (scores[0] + scores[-1]) / 2
    kept = finder.find(blue_photo, min_score=limit)
    expected = [region.box for region in everything if region.score >= limit]
    assert [region.box for region in kept] == expected
    assert 0 < len(kept) < len(everything)


@pytest.mark.parametrize("kind", ["unet_finder", "mrcnn_finder"])
def test_crops_become_maps_of_probability(kind, request):
    finder = request.getfixturevalue(kind)
    crops = np.random.default_rng(1).integers(0, 256, (2, 256, 256, 3)).astype(np.uint8)
    crops[:, 100:200, 80:180] = (0, 0, 255)
    maps = finder.segment(crops)
    assert (maps.shape, maps.dtype) == ((2, 256, 256), np.float32)
    assert 0 <= maps.min() < 0.5 < maps.max() <= 1
    np.testing.assert_allclose(finder.segment(crops[1:])[0], maps[1], atol=1e-5)
    assert finder.segment(crops[:0]).shape == (0, 256, 256)


# === Each by itself ===


def test_unet_is_used_as_before(blue_photo):
    from unmask.segmentation.finder import find_masks, segment_crops

    network = build_unet()
    finder = UNetFinder(network)
    crops = np.random.default_rng(2).integers(0, 256, (1, 256, 256, 3)).astype(np.uint8)
    np.testing.assert_array_equal(finder.segment(crops), segment_crops(network, crops, mirror=True))
    found, expected = (
        [(r.box, r.score) for r in regions]
        for regions in (
            finder.find(blue_photo, min_score=0.3),
            find_masks(network, blue_photo, min_score=0.3),
        )
    )
    assert found == expected


def test_mrcnn_maps_hold_the_highest_score_of_two_looks(mrcnn_finder):
    crop = np.random.default_rng(3).integers(0, 256, (256, 256, 3)).astype(np.uint8)
    looks = []
    for image in (crop, np.ascontiguousarray(crop[:, ::-1])):
        highest = np.zeros((256, 256), np.float32)
        regions = mrcnn_finder.find(image, min_score=0.0)
        for region in regions:
            highest = np.maximum(highest, region.mask * np.float32(region.score))
        assert sum(region.area for region in regions) > (highest > 0).sum()  # they overlap
        looks.append(highest)
    expected = (looks[0] + looks[1][:, ::-1]) / 2
    np.testing.assert_allclose(mrcnn_finder.segment(crop[None])[0], expected, atol=1e-6)


def test_a_network_for_training_is_refused(tmp_path):
    training = MaskRCNN("training", detector.LiteConfig(), tmp_path)
    with pytest.raises(ValueError, match=r"mode='inference'.*mode='training'"):
        MaskRCNNFinder(training)


# === Files ===


def test_the_file_says_which_network_it_is(one_proposal, weight_file, portrait, tmp_path):
    keras.utils.set_random_seed(4)
    unet = build_unet()
    save_weights(unet, tmp_path / "unet.safetensors", dtype="float32")
    crops = np.random.default_rng(5).integers(0, 256, (1, 256, 256, 3)).astype(np.uint8)
    np.testing.assert_array_equal(
        load_finder(tmp_path / "unet.safetensors").segment(crops), UNetFinder(unet).segment(crops)
    )
    assert_sees_the_place(load_finder(weight_file), portrait)
    assert_sees_the_place(Unmasker(finder=weight_file).segmentation, portrait)


def test_other_files_are_refused(tmp_path):
    save_arrays(tmp_path / "other.safetensors", {"dense/kernel": np.zeros((2, 2), np.float32)})
    with pytest.raises(WeightsError, match=r"other\.safetensors.*Neither a Mask R-CNN nor"):
        load_finder(tmp_path / "other.safetensors")
    for name in ("none.safetensors", "none.h5"):
        with pytest.raises(WeightsError, match=f"{name}: no such file"):
            load_finder(tmp_path / name)


@pytest.mark.slow
def test_the_papers_network_from_both_kinds_of_files(one_proposal, monkeypatch, portrait, tmp_path):
    # The names of a ResNet-50 are what a file is known by; the rest may be small.
    small = {
        "TOP_DOWN_PYRAMID_SIZE": 16, "RPN_FILTERS": 16, "MASK_FILTERS": 16,
        "FPN_CLASSIF_FC_LAYERS_SIZE": 32,
    }  # fmt: skip
    for name, value in small.items():
        monkeypatch.setattr(paper.PaperConfig, name, value)
    model = MaskRCNN("inference", paper.PaperConfig(), str(tmp_path))
    see_a_mask_at(model.keras_model, PLACE, SCORE)
    published, converted = tmp_path / "mask_rcnn_masks_0020.h5", tmp_path / "paper.safetensors"
    model.save_weights(published)
    finder = load_finder(published)
    save_weights(finder.detector.keras_model, converted)
    expected = model.keras_model.get_layer("conv1").get_weights()[0]
    for loaded in (finder, load_finder(converted)):
        assert loaded.detector.config.BACKBONE == "resnet50"
        assert_sees_the_place(loaded, portrait)
        found = loaded.detector.keras_model.get_layer("conv1").get_weights()[0]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def assert_sees_the_place(finder: MaskRCNNFinder, photo: np.ndarray) -> None:
    (region,) = finder.find(photo, min_score=SCORE - 0.01)
    side = len(photo)
    top, left, bottom, right = (share * side for share in PLACE)
    np.testing.assert_allclose(region.box, (left, top, right, bottom), atol=1.5)
    assert region.score == pytest.approx(SCORE, abs=1e-3)
    assert region.patch.mean() > 0.99
    assert finder.find(photo, min_score=SCORE + 0.01) == []


# === In the pipeline ===


@pytest.fixture
def weights_dir(monkeypatch, weight_file, tmp_path) -> Path:
    """Weights of the paper preset; the networks that find no masks are small, to be fast."""
    lite = PRESETS["lite"]
    networks = {**lite.networks, "segmentation": PRESETS["paper"].networks["segmentation"]}
    small = Preset("paper", MappingProxyType(networks), lite.files)
    monkeypatch.setattr(presets, "PRESETS", {**PRESETS, "paper": small})
    files = {e.stage: e.path for e in read_manifest() if e.preset == "lite"}
    rows = []
    for stage, source in {**files, "segmentation": weight_file}.items():
        path = tmp_path / f"{stage}{source.suffix}"
        shutil.copy(source, path)
        rows.append(
            f'[[file]]\npreset = "paper"\nstage = "{stage}"\npath = "{path.name}"\n'
            f'sha256 = "{file_sha256(path)}"\nsize = {path.stat().st_size}\n'
            f'licence = "free"\ncard = "card.md"\n'
        )
    (tmp_path / "manifest.toml").write_text("\n".join(rows))
    return tmp_path


def test_the_paper_preset_runs_with_a_mask_rcnn(one_proposal, weights_dir, portrait):
    result = Unmasker("paper", weights_dir).load()(portrait)
    (face,) = result.faces
    assert face.score == pytest.approx(SCORE, abs=1e-3)
    side = len(portrait)
    top, left, bottom, right = (round(share * side) for share in PLACE)
    seen = np.zeros((side, side), bool)
    seen[top:bottom, left:right] = True
    # The hole is the outline of both looks, grown and feathered, without what lies beside the jaw.
    assert (face.mask & seen).sum() / seen.sum() > 0.85
    assert iou(face.mask, seen) > 0.5
    np.testing.assert_array_equal(result.image[~face.mask], portrait[~face.mask])
    assert np.abs(result.image[face.mask].astype(int) - portrait[face.mask]).mean() > 10


def test_an_altered_file_of_the_paper_preset_is_refused(weights_dir, portrait):
    path = weights_dir / "segmentation.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"segmentation\.safetensors: SHA-256"):
        Unmasker("paper", weights_dir)(portrait)


class Pointed:
    """A finder of one's own: it knows where the mask is."""

    def __init__(self, box: tuple[float, ...], score: float) -> None:
        self.box, self.score = box, score

    def find(self, photo: np.ndarray, *, min_score: float) -> list[MaskRegion]:
        x0, y0, x1, y1 = (int(v) for v in self.box)
        shape = (photo.shape[0], photo.shape[1])
        region = MaskRegion(self.box, self.score, np.ones((y1 - y0, x1 - x0), bool), shape)
        return [region] if self.score >= min_score else []

    def segment(self, crops: np.ndarray) -> np.ndarray:
        return np.full(crops.shape[:3], 0.2, np.float32)


def test_a_finder_of_ones_own(portrait):
    (face,) = Unmasker(finder=Pointed((47.0, 100.0, 119.0, 152.0), 0.8))(portrait).faces
    assert face.score == 0.8
    assert face.mask[110:140, 65:100].all()
    with pytest.warns(UserWarning, match="no masked face"):
        unsure = Unmasker(finder=Pointed((47.0, 100.0, 119.0, 152.0), 0.7))(portrait)
    assert unsure.faces == []
