"""Our network against what the published one computes from the same weights."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest
from keras import ops

from unmask.mrcnn import targets as loss_functions
from unmask.mrcnn import utils
from unmask.mrcnn.config import Config
from unmask.mrcnn.model import LAYERS, MaskRCNN, mold_image
from unmask.mrcnn.targets import match_anchors

NETWORK = "matterport_resnet50_1class"
SEED = 1

# Each network runs once or twice, for which tracing would take longer.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("untraced")]


class ParityConfig(Config):
    NAME = "parity"
    BACKBONE = "resnet50"
    NUM_CLASSES = 2
    IMAGES_PER_GPU = 1
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 256
    RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)
    POST_NMS_ROIS_INFERENCE = 200


class TrainingConfig(ParityConfig):
    USE_RPN_ROIS = False
    POST_NMS_ROIS_TRAINING = 60
    TRAIN_ROIS_PER_IMAGE = 64


@pytest.fixture(scope="module")
def parity(parity_dir: Path) -> ModuleType:
    path = parity_dir / "matterport_h5.py"
    if not path.is_file():
        pytest.skip("the fixtures have no matterport_h5.py")
    spec = importlib.util.spec_from_file_location("matterport_h5", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stored(parity_dir: Path) -> dict[str, np.ndarray]:
    path = parity_dir / "outputs" / f"{NETWORK}-seed{SEED}.npz"
    if not path.is_file():
        pytest.skip("the fixtures have no outputs of matterport's network")
    return dict(np.load(path, allow_pickle=False))


@pytest.fixture(scope="module")
def weights(parity: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parity") / "seed1.h5"
    parity.write_h5(SEED, path)
    return path


@pytest.fixture(scope="module")
def detector(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> MaskRCNN:
    model = MaskRCNN("inference", ParityConfig(), tmp_path_factory.mktemp("logs"))
    report = model.load_weights(weights)
    assert (len(report.loaded), report.missing, report.unused) == (len(report.loaded), (), ())
    return model


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def unpacked(stored: dict[str, np.ndarray], prefix: str) -> np.ndarray:
    """Return masks (n, H, W)."""
    height, width, count = stored[f"{prefix}_shape"]
    bits = np.unpackbits(stored[f"{prefix}_packed"], count=height * width * count)
    return bits.reshape(count, height, width).astype(bool)


def test_outputs(detector: MaskRCNN, stored: dict[str, np.ndarray], parity: ModuleType) -> None:
    image = parity.make_image(SEED)
    molded, metas, windows = detector.mold_inputs([image])
    np.testing.assert_allclose(metas[0], stored["image_meta"].ravel())
    np.testing.assert_array_equal(windows[0], stored["window"].ravel())
    anchors = detector.get_anchors(molded.shape[1:])
    assert len(anchors) == stored["anchors_count"]
    np.testing.assert_allclose(anchors[:16], stored["anchors_first"], atol=1e-6)
    np.testing.assert_allclose(anchors[-16:], stored["anchors_last"], atol=1e-6)

    outputs = detector.keras_model.predict_on_batch(
        [molded, metas.astype(np.float32), anchors[None]]
    )
    detections, classes, deltas, masks, rois, rpn_class, rpn_bbox = (np.asarray(o) for o in outputs)
    assert relative(rpn_class[0], stored["output_rpn_class"]) < 1e-3
    assert relative(rpn_bbox[0], stored["output_rpn_bbox"]) < 1e-3
    assert relative(rois[0], stored["output_rpn_rois"]) < 1e-3
    stable = stored["roi_stable"].astype(bool)
    assert relative(classes[0][stable], stored["output_mrcnn_class"][stable]) < 1e-3
    assert relative(deltas[0][stable], stored["output_mrcnn_bbox"][stable]) < 1e-3
    _compare_detections(
        detections[0], stored["output_detections"], stored["detections_stable"].astype(bool)
    )
    # Rows of the same detection draw the same mask.
    for row in np.flatnonzero(stored["detections_stable"]):
        ours = _nearest(detections[0], stored["output_detections"][row])
        assert relative(masks[0, ours], stored["output_mrcnn_mask"][row]) < 1e-2


@pytest.mark.parametrize("padded", [False, True])
def test_detect(
    detector: MaskRCNN, stored: dict[str, np.ndarray], parity: ModuleType, padded: bool
) -> None:
    image, prefix = parity.make_image(SEED), ""
    if padded:
        image, prefix = image[:, 32:224], "pad_"
    result = detector.detect([image])[0]
    masks = unpacked(stored, f"{prefix}detect_masks")
    assert result["masks"].shape == (*image.shape[:2], len(result["rois"]))
    for row in np.flatnonzero(stored[f"{prefix}detections_stable"]):
        distance = np.abs(result["rois"] - stored[f"{prefix}detect_rois"][row]).max(axis=1)
        ours = int(distance.argmin())
        assert distance[ours] <= 1
        assert result["class_ids"][ours] == stored[f"{prefix}detect_class_ids"][row]
        assert abs(result["scores"][ours] - stored[f"{prefix}detect_scores"][row]) < 1e-3
        overlap = utils.compute_overlaps_masks(
            result["masks"][:, :, ours : ours + 1], masks[row][:, :, None]
        )
        assert overlap[0, 0] > 0.98


def test_resize(stored: dict[str, np.ndarray], parity: ModuleType) -> None:
    image, masks = parity.make_image(SEED)[::2, ::3], parity.make_masks(SEED)[::2, ::3]
    resized, window, scale, padding, _ = utils.resize_image(image, 256, 256, 0, "square")
    np.testing.assert_array_equal(resized, stored["resize_output"])
    np.testing.assert_array_equal(window, stored["resize_window"])
    assert scale == stored["resize_scale"]
    np.testing.assert_array_equal(padding, stored["resize_padding"])
    ours = np.moveaxis(utils.resize_mask(masks, scale, padding), -1, 0)
    assert (ours != unpacked(stored, "resize_masks")).mean() <= 1e-3


def test_anchor_labels(stored: dict[str, np.ndarray], parity: ModuleType) -> None:
    config = ParityConfig()
    anchors = utils.generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES, config.RPN_ANCHOR_RATIOS,
        [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4)], config.BACKBONE_STRIDES, 1,
    )  # fmt: skip
    match, _, _ = match_anchors(anchors, np.array([1, 1]), parity.make_boxes(SEED))
    np.testing.assert_array_equal(match, stored["train_rpn_match_all"].ravel())


@pytest.fixture(scope="module")
def trainer(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> MaskRCNN:
    model = MaskRCNN("training", TrainingConfig(), tmp_path_factory.mktemp("logs"))
    model.load_weights(weights)
    return model


@pytest.fixture(scope="module")
def batch(stored: dict[str, np.ndarray], parity: ModuleType) -> dict[str, np.ndarray]:
    count = 2
    masks = np.unpackbits(stored["train_gt_masks_packed"], count=count * 56 * 56)
    masks = np.moveaxis(masks.reshape(count, 56, 56), 0, -1).astype(bool)
    return {
        "input_image": mold_image(parity.make_image(SEED), TrainingConfig())[None],
        "input_image_meta": stored["train_image_meta"].reshape(1, -1).astype(np.float32),
        "input_rpn_match": stored["train_rpn_match"].reshape(1, -1, 1).astype(np.int32),
        "input_rpn_bbox": stored["train_rpn_bbox"][None].astype(np.float32),
        "input_gt_class_ids": np.pad(stored["train_gt_class_ids"], (0, 98))[None].astype(np.int32),
        "input_gt_boxes": np.pad(stored["train_gt_boxes"], ((0, 98), (0, 0)))[None],
        "input_gt_masks": np.pad(masks, ((0, 0), (0, 0), (0, 98)))[None],
        "input_roi": stored["train_rois"][None].astype(np.int32),
    }


def test_losses_and_targets(
    trainer: MaskRCNN, batch: dict[str, np.ndarray], stored: dict[str, np.ndarray]
) -> None:
    outputs = trainer.keras_model.predict_on_batch(batch)
    losses = loss_functions.all_losses(batch, outputs)
    for name, value in losses.items():
        theirs = float(stored[f"loss_{name.removesuffix('_loss')}"])
        assert float(value) == pytest.approx(theirs, rel=1e-3), name

    # The order of the chosen proposals is random; those of the file are in the order fed.
    rois = np.asarray(outputs["output_rois"])[0, :20]
    order = [int(np.abs(rois - roi).max(axis=1).argmin()) for roi in stored["target_rois"]]
    assert sorted(order) == list(range(20))
    np.testing.assert_allclose(rois[order], stored["target_rois"], atol=1e-6)
    classes = np.asarray(outputs["target_class_ids"])[0]
    np.testing.assert_array_equal(classes[:20][order], stored["target_class_ids"])
    assert not classes[20:].any()
    assert relative(np.asarray(outputs["target_bbox"])[0, :20][order], stored["target_bbox"]) < 2e-4
    masks = np.unpackbits(stored["target_masks_packed"], count=20 * 28 * 28).reshape(20, 28, 28)
    assert (np.asarray(outputs["target_mask"])[0, :20][order] != masks).mean() <= 1e-3


@pytest.mark.parametrize("layers", ["heads", "all"])
def test_trainable_and_decay(trainer: MaskRCNN, stored: dict[str, np.ndarray], layers: str) -> None:
    trainer.set_trainable(LAYERS[layers])
    variables = trainer.keras_model.trainable_variables
    assert len(variables) == stored[f"trainable_count_{layers}"]
    decay = float(loss_functions.decay_loss(variables, TrainingConfig.WEIGHT_DECAY))
    assert decay == pytest.approx(float(stored[f"loss_l2_{layers}"]), rel=1e-3)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads TensorFlow's gradients")
def test_gradients(
    trainer: MaskRCNN, batch: dict[str, np.ndarray], stored: dict[str, np.ndarray]
) -> None:
    import tensorflow as tf

    trainer.set_trainable(LAYERS["all"])
    variables = trainer.keras_model.trainable_variables
    with tf.GradientTape() as tape:
        outputs = trainer.keras_model(
            {name: ops.convert_to_tensor(value) for name, value in batch.items()}, training=True
        )
        total = sum(loss_functions.all_losses(batch, outputs).values())
    gradients = tape.gradient(total, [v.value for v in variables])
    ours = {
        "/".join(v.path.split("/")[-2:]): float(
            np.linalg.norm(np.asarray(ops.convert_to_tensor(g)))
        )
        for v, g in zip(variables, gradients, strict=True)
        if g is not None
    }
    theirs = {
        "/".join(name.removeprefix("grad_norm/").split(":")[0].split("/")[-2:]): float(value)
        for name, value in stored.items()
        if name.startswith("grad_norm/")
    }
    assert theirs
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, rel=1e-2, abs=1e-7), name


def test_stored_configuration(stored: dict[str, np.ndarray]) -> None:
    config = TrainingConfig()
    for name, value in json.loads(str(stored["config"])).items():
        if name in ("POST_NMS_ROIS_TRAINING", "TRAIN_ROIS_PER_IMAGE", "USE_RPN_ROIS"):
            continue
        ours = getattr(config, name)
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(value), err_msg=name)


def _nearest(detections: np.ndarray, row: np.ndarray) -> int:
    return int(np.abs(detections[:, :4] - row[:4]).max(axis=1).argmin())


def _compare_detections(ours: np.ndarray, theirs: np.ndarray, stable: np.ndarray) -> None:
    for row in np.flatnonzero(stable):
        match = ours[_nearest(ours, theirs[row])]
        np.testing.assert_allclose(match[:4], theirs[row, :4], atol=1e-3)
        assert match[4] == theirs[row, 4]
        assert abs(match[5] - theirs[row, 5]) < 1e-3
    count, expected = int((ours[:, 4] > 0).sum()), int((theirs[:, 4] > 0).sum())
    assert abs(count - expected) <= 5
