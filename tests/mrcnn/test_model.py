from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from unmask.errors import DataError, ImageError, UnmaskError
from unmask.mrcnn import model as modellib
from unmask.mrcnn import utils
from unmask.mrcnn.config import Config
from unmask.mrcnn.model import LAYERS, MaskRCNN, StopOnNaN
from unmask.mrcnn.targets import LOSS_NAMES

Trained = tuple[MaskRCNN, dict[str, list[float]]]

# Only the one training of many steps is traced, in its fixture.
pytestmark = pytest.mark.usefixtures("untraced")


class Coco(Config):
    NAME = "coco"
    NUM_CLASSES = 81


@pytest.mark.slow
def test_published_size(tmp_path: Path) -> None:
    assert MaskRCNN("inference", Coco(), tmp_path).keras_model.count_params() == 64_158_584


# === Detecting ===


@pytest.mark.parametrize("mode", ["pad64", "none", "crop"])
def test_masks_have_the_size_of_the_photo(
    detector: MaskRCNN, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    shape = (64, 128, 3) if mode == "none" else (50, 40, 3)
    image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    monkeypatch.setattr(detector.config, "IMAGE_RESIZE_MODE", mode)
    result = detector.detect([image])[0]
    assert result["masks"].shape == (*shape[:2], len(result["rois"]))
    assert (result["masks"].dtype, result["rois"].dtype) == (bool, np.int32)
    assert len(result["class_ids"]) == len(result["scores"]) == len(result["rois"])


def test_any_number_of_images_of_any_size(detector: MaskRCNN) -> None:
    images = [np.zeros((30, 70, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)]
    assert [r["masks"].shape[:2] for r in detector.detect([*images, images[0]])] == [
        (30, 70), (64, 64), (30, 70)
    ]  # fmt: skip
    assert detector.detect([]) == []


def test_images_without_a_clear_meaning_are_refused(detector: MaskRCNN, squares: Any) -> None:
    image = squares.load_image(0)
    with pytest.raises(ImageError, match=r"images\[1\]: .*MEAN_PIXEL.*from 0.*multiply by 255"):
        detector.mold_inputs([image, image / 255])
    with pytest.raises(ImageError, match="must be a list"):
        detector.detect(image)


def test_unmolding_by_hand(detector: MaskRCNN) -> None:
    detections = np.zeros((5, 6), np.float32)
    detections[:3, 4:] = [1, 0.9]
    detections[0, :4] = utils.norm_boxes([16, 0, 48, 32], (64, 64))
    detections[1, :4] = [0.5, 0.5, 0.5, 0.5]
    detections[2, :4] = utils.norm_boxes([16, 32, 48, 64], (64, 64))
    maps = np.zeros((5, 28, 28, 2), np.float32)
    maps[..., 1] = 1.0
    rois, classes, _scores, masks = detector.unmold_detections(
        detections, maps, (50, 100, 3), (64, 64, 3), (16, 0, 48, 64)
    )
    assert rois[0].tolist()[:2] == [0, 0]
    assert rois[0, 2] == 50
    assert abs(rois[0, 3] - 50) <= 1
    assert (len(rois), classes.tolist(), masks.shape) == (2, [1, 1], (50, 100, 2))
    assert masks[..., 0][5:45, 5:45].all()
    assert not masks[..., 0][:, 55:].any()
    nothing = detector.unmold_detections(
        np.zeros((5, 6)), maps, (50, 100, 3), (64, 64, 3), (16, 0, 48, 64)
    )
    assert nothing[3].shape == (50, 100, 0)


def test_both_ways_to_detect_agree(detector: MaskRCNN, squares: Any) -> None:
    image = squares.load_image(0)
    molded, metas, _ = detector.mold_inputs([image])
    whole = detector.keras_model.predict_on_batch(
        [molded, metas.astype(np.float32), detector.get_anchors((64, 64))[None]]
    )
    shapes = [tuple(np.shape(part)) for part in whole]
    assert shapes == [
        (1, 10, 6), (1, 32, 2), (1, 32, 2, 4), (1, 10, 28, 28, 2), (1, 32, 4), (1, 1023, 2),
        (1, 1023, 4),
    ]  # fmt: skip
    probe = detector.run_graph(
        [image], [("rois", "ROI"), ("first", detector.keras_model.output[0]), ("m", "mrcnn_mask")]
    )
    np.testing.assert_allclose(probe["m"], whole[3], atol=1e-5)
    np.testing.assert_allclose(probe["first"], whole[0], atol=1e-5)
    np.testing.assert_allclose(probe["rois"], whole[4], atol=1e-5)
    # A single output keeps the batch, also of a layer that sees all boxes one after another.
    two = [image, squares.load_image(1)]
    folded = detector.run_graph(two, [("x", "mrcnn_class_conv1")])["x"]
    assert folded.shape == (2, 32, 1, 1, 64)
    with pytest.raises(ValueError, match="'inner': None"):
        detector.run_graph(
            [image], [("inner", detector.ancestor(detector.keras_model.output[0], "ROI/nms:0"))]
        )
    first = detector.detect_molded(molded, metas)[0]
    second = detector.detect([image])[0]
    for name in ("rois", "scores", "masks"):
        np.testing.assert_allclose(first[name], second[name], atol=1e-5)


def test_layers_and_tensors_are_found_by_name(detector: MaskRCNN) -> None:
    network = detector.keras_model
    proposals = network.get_layer("ROI").output
    assert detector.ancestor(network.output[0], "ROI:0") is proposals
    assert detector.ancestor(proposals, "rpn_class") is network.get_layer("rpn_class").output
    assert detector.ancestor(proposals, "mrcnn_detection") is None
    names = [layer.name for layer in detector.get_trainable_layers()]
    assert {"tiny1", "fpn_p2", "rpn_model", "mrcnn_mask"} <= set(names)
    assert "ROI" not in names
    inner = keras.layers.Dense(2)
    assert detector.find_trainable_layer(keras.layers.TimeDistributed(inner)) is inner


def test_anchors_are_kept(detector: MaskRCNN) -> None:
    anchors = detector.get_anchors((64, 128))
    assert detector.get_anchors((64, 128)) is anchors
    assert detector.anchors is not None
    np.testing.assert_allclose(utils.norm_boxes(detector.anchors, (64, 128)), anchors)


# === Training ===


def test_losses_fall_and_a_square_is_found(trained: Trained, squares: Any, tmp_path: Path) -> None:
    model, history = trained
    for name in LOSS_NAMES:
        assert np.isfinite(history[name]).all()
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert np.isfinite(history["val_loss"]).all()

    finder = MaskRCNN("inference", type(model.config)(), tmp_path)
    last = Path(model.find_last())
    assert (last.name, last.parent) == ("mask_rcnn_tiny_0004.h5", Path(model.log_dir))
    assert finder.epoch == 0
    report = finder.load_weights(last)
    assert (report.missing, report.unused) == ((), ())
    assert (finder.epoch, finder.log_dir) == (4, str(tmp_path / last.parent.name))
    values = []
    for i in range(4):
        masks, ids = squares.load_mask(i)
        truth = masks > 0
        found = finder.detect([squares.load_image(i)])[0]
        values.append(
            utils.compute_ap(
                utils.extract_bboxes(truth), ids, truth,
                found["rois"], found["class_ids"], found["scores"], found["masks"],
            )[0]
        )  # fmt: skip
    assert np.mean(values) >= 0.75


def test_a_training_goes_on_to_an_absolute_epoch(trained: Trained, make_squares: Any) -> None:
    model, _ = trained
    model.config.STEPS_PER_EPOCH = 1
    epochs = []
    watch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: epochs.append(epoch))
    kept = np.asarray(model.keras_model.get_layer("tiny1").get_weights()[0])
    model.train(make_squares(8), None, 0.001, 5, "heads", custom_callbacks=[watch])
    assert (epochs, model.epoch) == ([4], 5)
    np.testing.assert_array_equal(model.keras_model.get_layer("tiny1").get_weights()[0], kept)


def test_layers_to_train(trained: Trained) -> None:
    model, _ = trained
    heads = model.set_trainable(LAYERS["heads"])
    assert not any(name.startswith("tiny") for name in heads)
    assert {"rpn_conv_shared", "fpn_c5p5", "mrcnn_mask_deconv", "mrcnn_class_bn1"} <= set(heads)
    assert model.set_trainable("rpn_conv_shared") == ["rpn_conv_shared"]
    assert len(model.keras_model.trainable_variables) == 2
    assert len(model.set_trainable(LAYERS["all"])) == len(heads) + 5


def test_frozen_normalisation_stays_frozen_in_fit(trained: Trained) -> None:
    model, _ = trained
    _, beta, mean, variance = model.keras_model.get_layer("mrcnn_mask_bn1").get_weights()
    assert beta.any()
    assert not mean.any()
    assert (variance == 1).all()


def test_wrong_use(tiny_config: type[Config], detector: MaskRCNN, squares: Any) -> None:
    with pytest.raises(ValueError, match="mode='train'"):
        MaskRCNN("train", tiny_config(), "logs")
    with pytest.raises(ValueError, match="mode='training'"):
        detector.train(squares, None, 0.1, 1, "all")
    with pytest.raises(ValueError, match="resnet50"):
        detector.get_imagenet_weights()


def test_layers_that_match_nothing(trained: Trained, squares: Any) -> None:
    with pytest.raises(ValueError, match="layers='head'"):
        trained[0].train(squares, None, 0.1, 99, "head")


def test_nan_is_an_error_at_once() -> None:
    with pytest.raises(UnmaskError, match="batch 3: rpn_class_loss"):
        StopOnNaN().on_train_batch_end(3, {"loss": 1.0, "rpn_class_loss": float("nan")})


# === Data ===


def test_ground_truth_from_integer_masks(squares: Any, tiny_config: type[Config]) -> None:
    truth = modellib.load_image_gt(squares, tiny_config(), 0)
    y, x = squares.image_info[0]["corner"]
    side = squares.image_info[0]["side"]
    assert truth.boxes.tolist() == [[y, x, y + side, x + side]]
    assert (truth.masks.dtype, truth.masks.shape) == (bool, (64, 64, 1))
    assert modellib.parse_image_meta(truth.image_meta[None])["active_class_ids"].tolist() == [
        [1, 1]
    ]
    mini = modellib.load_image_gt(squares, tiny_config(), 0, use_mini_mask=True)
    assert mini.masks.shape == (56, 56, 1)


def test_augmentation_moves_image_and_mask_together(
    squares: Any, tiny_config: type[Config]
) -> None:
    flip = modellib.RandomFlip(1.0)
    plain = modellib.load_image_gt(squares, tiny_config(), 1)
    flipped = modellib.load_image_gt(squares, tiny_config(), 1, augmentation=flip)
    np.testing.assert_array_equal(flipped.image, plain.image[:, ::-1])
    np.testing.assert_array_equal(flipped.masks, plain.masks[:, ::-1])
    y1, x1, y2, x2 = plain.boxes[0]
    assert flipped.boxes.tolist() == [[y1, 64 - x2, y2, 64 - x1]]
    with pytest.raises(DataError, match="sizes"):
        modellib.load_image_gt(
            squares, tiny_config(), 1, augmentation=lambda i, m: (i[:32], m[:32])
        )


def test_objects_that_the_augmentation_removes(squares: Any, tiny_config: type[Config]) -> None:
    truth = modellib.load_image_gt(
        squares, tiny_config(), 1, augmentation=lambda i, m: (i, np.zeros_like(m))
    )
    assert (len(truth.class_ids), truth.boxes.shape, truth.masks.shape[-1]) == (0, (0, 4), 0)


def test_what_cannot_augment_is_refused(squares: Any, tiny_config: type[Config]) -> None:
    with pytest.raises(TypeError, match="augmentation=str"):
        modellib.BatchLoader(squares, tiny_config(), 1, augmentation="flip")


def test_batches_repeat_and_cover_all_images(squares: Any, tiny_config: type[Config]) -> None:
    first = modellib.BatchLoader(squares, tiny_config(), 16, seed=4)
    second = modellib.BatchLoader(squares, tiny_config(), 8, seed=4, first_epoch=1)
    for name, value in first[9][0].items():
        np.testing.assert_array_equal(value, second[1][0][name])
    ids = np.concatenate([first[i][0]["input_image_meta"][:, 0] for i in range(16)])
    assert sorted(ids.astype(int)) == list(range(64))
    assert first.use_multiprocessing is False


def test_images_without_objects(make_squares: Any, tiny_config: type[Config]) -> None:
    data = make_squares(9, empty=True)
    loader = modellib.BatchLoader(data, tiny_config(), 3)
    ids = {int(i) for k in range(3) for i in loader[k][0]["input_image_meta"][:, 0]}
    assert not ids & {0, 3, 6}
    config = tiny_config()
    config.TRAIN_EMPTY_IMAGES = True
    kept = modellib.BatchLoader(data, config, 3)
    ids = {int(i) for k in range(3) for i in kept[k][0]["input_image_meta"][:, 0]}
    assert {0, 3, 6} <= ids
    empty = make_squares(1, empty=True)
    with pytest.raises(DataError, match="no image with an object"):
        modellib.BatchLoader(empty, tiny_config(), 1)[0]


def test_some_broken_images_are_left_out_many_are_an_error(
    squares: Any, make_squares: Any, tiny_config: type[Config]
) -> None:
    class Broken(make_squares):  # type: ignore[misc]
        bad: frozenset[int] = frozenset({2, 5})

        def load_image(self, image_id: int) -> np.ndarray:
            if image_id in self.bad:
                raise OSError("truncated")
            return super().load_image(image_id)

    loader = modellib.BatchLoader(Broken(8), tiny_config(), 2)
    assert all(loader[i][0]["input_image"].shape == (4, 64, 64, 3) for i in range(2))
    Broken.bad = frozenset(range(8))
    with pytest.raises(DataError, match=r"image \d.*truncated.*6 images are broken"):
        modellib.BatchLoader(Broken(8), tiny_config(), 2)[0]


def test_one_broken_image_never_ends_a_training(
    make_squares: Any, tiny_config: type[Config], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(make_squares):  # type: ignore[misc]
        def load_image(self, image_id: int) -> np.ndarray:
            if image_id == 1:
                raise OSError("truncated")
            return super().load_image(image_id)

    loader = modellib.BatchLoader(Broken(2), tiny_config(), 10)
    for number in range(10):
        assert set(loader[number][0]["input_image_meta"][:, 0]) == {0}
    assert len(caplog.records) == 1


def test_mirroring_depends_on_seed_and_place_alone(squares: Any, tiny_config: type[Config]) -> None:
    loader = modellib.BatchLoader(
        squares, tiny_config(), 4, augmentation=modellib.RandomFlip(0.5), shuffle=False
    )
    plain = modellib.BatchLoader(squares, tiny_config(), 4, shuffle=False)
    first, again, bare = (
        [one.item(i)["input_image"] for i in range(12)] for one in (loader, loader, plain)
    )
    np.testing.assert_array_equal(first, again)
    flipped = [not np.array_equal(a, b) for a, b in zip(first, bare, strict=True)]
    assert 0 < sum(flipped) < 12


def test_an_augmentation_that_changes_the_scale_is_refused(
    squares: Any, tiny_config: type[Config]
) -> None:
    with pytest.raises(ImageError, match="multiply by 255"):
        modellib.load_image_gt(squares, tiny_config(), 0, augmentation=lambda i, m: (i / 255, m))


def test_keras_own_saving_takes_the_suffix_of_programs(detector: MaskRCNN, tmp_path: Path) -> None:
    detector.keras_model.save_weights(str(tmp_path / "net.h5"))
    assert detector.load_weights(tmp_path / "net.h5").missing == ()
    detector.keras_model.save_weights(tmp_path / "net.weights.h5")
    assert (tmp_path / "net.weights.h5").is_file()


def test_without_tensorboard_the_epoch_is_kept(
    make_squares: Any, tiny_config: type[Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(modellib, "find_spec", lambda name: None)
    model = MaskRCNN("training", tiny_config(), tmp_path)
    model.config.STEPS_PER_EPOCH = 1
    model.train(make_squares(4), None, 1e-3, 1, "heads")
    assert [path.suffix for path in Path(model.log_dir).iterdir()] == [".h5"]
    assert "TensorBoard is not installed" in caplog.text
    model.train(make_squares(4), None, 1e-3, 1, "heads")
    assert "nothing to do" in caplog.text


@pytest.mark.parametrize(
    ("masks", "ids", "message"),
    [
        (np.ones((10, 10, 1)), np.array([1]), "image's size"),
        (np.ones((64, 64, 2)), np.array([1]), "for each mask"),
        (np.ones((64, 64, 1)), np.array([2]), "between 1 and 1"),
        (np.ones((64, 64, 1)), np.array([0]), "background"),
    ],
)
def test_what_load_mask_must_return(
    make_squares: Any, tiny_config: type[Config], masks: np.ndarray, ids: np.ndarray, message: str
) -> None:
    class Wrong(make_squares):  # type: ignore[misc]
        def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
            return masks, ids

    with pytest.raises(DataError, match=message):
        modellib.load_image_gt(Wrong(1), tiny_config(), 0)


def test_data_sets_that_do_not_fit(squares: Any, tiny_config: type[Config]) -> None:
    config = tiny_config()
    config.NUM_CLASSES = 4
    with pytest.raises(DataError, match=r"2 classes.*NUM_CLASSES is 4"):
        modellib.BatchLoader(squares, config, 1)
    empty = utils.Dataset()
    empty.add_class("a", 1, "x")
    empty.prepare()
    with pytest.raises(DataError, match="no images"):
        modellib.BatchLoader(empty, tiny_config(), 1)


def test_a_source_without_a_class(make_squares: Any, tiny_config: type[Config]) -> None:
    data = make_squares(2)
    data.image_info[1]["source"] = "shape"
    with pytest.raises(DataError, match=r"image 1 \(square1\).*\['shapes'\].*'shape'"):
        modellib.load_image_gt(data, tiny_config(), 1)
    with pytest.raises(DataError, match="image 1"):
        modellib.BatchLoader(data, tiny_config(), 1)


def test_generator_yields_the_published_order(squares: Any, tiny_config: type[Config]) -> None:
    inputs, outputs = next(modellib.data_generator(squares, tiny_config(), batch_size=4))
    assert [i.shape for i in inputs] == [
        (4, 64, 64, 3), (4, 14), (4, 1023, 1), (4, 256, 4), (4, 4), (4, 4, 4), (4, 56, 56, 4)
    ]  # fmt: skip
    assert outputs == []


def test_log_describes_an_array(capsys: pytest.CaptureFixture[str]) -> None:
    modellib.log("image", np.array([1.0, 5.0]))
    assert "(2,)" in capsys.readouterr().out
