"""Programs of the kind that were written for matterport's package, run as they are.

Each is small and new, but imports `mrcnn`, derives from its classes and calls its functions the way
that its samples do: objects as polygons, made-up shapes, nuclei with an augmentation.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unmask.mrcnn import compat

SETTINGS = """
    NUM_CLASSES = 1 + 1
    GPU_COUNT = IMAGES_PER_GPU = 1
    STEPS_PER_EPOCH = VALIDATION_STEPS = 1
    BACKBONE = backbone
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    RPN_ANCHOR_SCALES = (8, 16, 32, 48, 64)
    TOP_DOWN_PYRAMID_SIZE = FPN_CLASSIF_FC_LAYERS_SIZE = RPN_FILTERS = MASK_FILTERS = 8
    TRAIN_ROIS_PER_IMAGE = 6
    POST_NMS_ROIS_TRAINING = POST_NMS_ROIS_INFERENCE = 10
    DETECTION_MAX_INSTANCES = 4
    DETECTION_MIN_CONFIDENCE = 0
    MAX_GT_INSTANCES = 3
"""

BALLOON = f"""
import argparse, json, os, sys
import numpy as np
import skimage.color, skimage.draw, skimage.io
from keras import layers
from mrcnn.config import Config
from mrcnn import model as modellib, utils


def backbone(image, stage5=True, train_bn=None):
    maps = [image]
    for i in range(5):
        maps.append(layers.Conv2D(8, 3, strides=2, padding="same", name="own%d" % i)(maps[-1]))
    return maps[1:]


class BalloonConfig(Config):
    NAME = "balloon"
    {SETTINGS.strip()}


class BalloonDataset(utils.Dataset):
    def load_balloon(self, folder, subset):
        self.add_class("balloon", 1, "balloon")
        folder = os.path.join(folder, subset)
        for a in json.load(open(os.path.join(folder, "via_region_data.json"))).values():
            polygons = [r["shape_attributes"] for r in a["regions"].values()]
            path = os.path.join(folder, a["filename"])
            height, width = skimage.io.imread(path).shape[:2]
            self.add_image("balloon", image_id=a["filename"], path=path,
                           width=width, height=height, polygons=polygons)

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        mask = np.zeros([info["height"], info["width"], len(info["polygons"])], dtype=np.uint8)
        for i, p in enumerate(info["polygons"]):
            rr, cc = skimage.draw.polygon(p["all_points_y"], p["all_points_x"])
            mask[rr, cc, i] = 1
        return mask.astype(bool), np.ones([mask.shape[-1]], dtype=np.int32)


def data(folder, subset):
    dataset = BalloonDataset()
    dataset.load_balloon(folder, subset)
    assert len(dataset.image_ids) == 1
    dataset.prepare()
    return dataset


parser = argparse.ArgumentParser()
parser.add_argument("command")
parser.add_argument("--dataset")
parser.add_argument("--weights")
parser.add_argument("--logs")
args = parser.parse_args()
config = BalloonConfig()
if args.command == "train":
    model = modellib.MaskRCNN(mode="training", config=config, model_dir=args.logs)
    model.train(data(args.dataset, "train"), data(args.dataset, "val"),
                learning_rate=config.LEARNING_RATE, epochs=1, layers="heads")
else:
    model = modellib.MaskRCNN(mode="inference", config=config, model_dir=args.logs)
    model.load_weights(model.find_last(), by_name=True)
    image = skimage.io.imread(os.path.join(args.dataset, "val", "a.png"))
    mask = model.detect([image], verbose=1)[0]["masks"]
    grey = skimage.color.gray2rgb(skimage.color.rgb2gray(image)) * 255
    inside = np.sum(mask, -1, keepdims=True) >= 1
    splash = np.where(inside, image, grey).astype(np.uint8)
    skimage.io.imsave(os.path.join(args.logs, "splash.png"), splash)
"""


@pytest.fixture
def mrcnn(monkeypatch: pytest.MonkeyPatch, untraced: None) -> Iterator[None]:
    """The alias, for one test."""
    for name in ("mrcnn", *(f"mrcnn.{module}" for module in compat._MODULES)):
        # Known to the fixture, so that it forgets what `install` registers.
        monkeypatch.setitem(sys.modules, name, sys)
        monkeypatch.delitem(sys.modules, name)
    compat.install()
    before = sys.argv, sys.path[:]
    yield
    sys.argv, sys.path[:] = before


def make_config(name: str, **settings: Any) -> Any:
    from mrcnn.config import Config

    from .conftest import tiny_backbone

    body: dict[str, Any] = {"backbone": tiny_backbone}
    exec("\n".join(line.strip() for line in SETTINGS.splitlines()), body)
    body = {k: v for k, v in body.items() if k.isupper()}
    return type("OwnConfig", (Config,), {"NAME": name, **body, **settings})()


def test_the_alias_is_the_package(mrcnn: None) -> None:
    import mrcnn.model as modellib
    from mrcnn import config, model, utils, visualize

    import unmask.mrcnn.utils

    assert modellib is model
    assert utils is unmask.mrcnn.utils
    assert (config.Config.__module__, visualize.draw_box.__name__) == (
        "unmask.mrcnn.config", "draw_box"
    )  # fmt: skip
    compat.install()
    sys.modules["mrcnn"] = logging
    with pytest.raises(ImportError, match="another `mrcnn`"):
        compat.install()


def test_balloons(mrcnn: None, tmp_path: Path) -> None:
    outline = {"all_points_x": [10, 40, 40, 10], "all_points_y": [8, 8, 36, 36]}
    for subset in ("train", "val"):
        folder = tmp_path / subset
        folder.mkdir()
        pixels = np.full((50, 60, 3), 90, np.uint8)
        pixels[8:36, 10:40] = (220, 30, 30)
        Image.fromarray(pixels).save(folder / "a.png")
        regions = {"0": {"shape_attributes": {"name": "polygon", **outline}}}
        (folder / "via_region_data.json").write_text(
            json.dumps({"a.png1": {"filename": "a.png", "regions": regions}})
        )
    (tmp_path / "balloon.py").write_text(BALLOON)
    options = [f"--dataset={tmp_path}", f"--logs={tmp_path / 'logs'}"]
    compat._main([str(tmp_path / "balloon.py"), "train", *options])
    compat._main([str(tmp_path / "balloon.py"), "splash", *options])
    with Image.open(tmp_path / "logs" / "splash.png") as splash:
        assert splash.size == (60, 50)


def test_shapes(mrcnn: None, tmp_path: Path, squares: Any) -> None:
    """The notebook: look at data, train, find the last file, detect, measure."""
    import mrcnn.model as modellib
    from mrcnn import utils

    config = make_config("shapes")
    image, meta, class_ids, boxes, masks = modellib.load_image_gt(
        squares, config, 1, augment=False, use_mini_mask=True
    )
    assert utils.expand_mask(boxes, masks, image.shape).shape == (64, 64, 1)
    assert (len(meta), class_ids.tolist()) == (14, [1])
    generator = modellib.data_generator(
        squares, config, shuffle=False, random_rois=200, batch_size=2, detection_targets=True
    )
    (*_, boxes, _, rpn_rois, rois), (classes, deltas, drawn) = next(generator)
    assert (rpn_rois.shape, rois.shape) == ((2, 200, 4), (2, 6, 4))
    assert (classes.shape, deltas.shape) == ((2, 6, 1), (2, 6, 2, 4))
    assert drawn.shape == (2, 6, 28, 28, 2)
    # Two of six may show the object; the corrections lead to it.
    assert (classes[..., 0] > 0).sum(axis=1).tolist() == [1, 1]
    moved = utils.apply_box_deltas(rois[0, :1], deltas[0, 0, 1:] * config.BBOX_STD_DEV)
    np.testing.assert_allclose(moved, boxes[0, :1], atol=1e-3)
    assert drawn[0, 0, ..., 1].any()
    assert not drawn[0, 1:].any()

    model = modellib.MaskRCNN(mode="training", config=config, model_dir=str(tmp_path))
    model.train(squares, None, learning_rate=0.001, epochs=1, layers="heads")
    inference = modellib.MaskRCNN(mode="inference", config=config, model_dir=str(tmp_path))
    assert Path(inference.find_last()).name == "mask_rcnn_shapes_0001.h5"
    inference.load_weights(inference.find_last(), by_name=True)
    truth = modellib.load_image_gt(squares, config, 0, use_mini_mask=False)
    found = inference.detect([truth.image], verbose=1)[0]
    value, *_ = utils.compute_ap(
        truth.boxes, truth.class_ids, truth.masks,
        found["rois"], found["class_ids"], found["scores"], found["masks"],
    )  # fmt: skip
    assert 0 <= value <= 1


class Augmenter:
    """Speaks imgaug's protocol: augmenters that hold others, sampled once, asked through hooks."""

    deterministic = False

    def __init__(self, *children: Augmenter) -> None:
        self.children = children

    def to_deterministic(self) -> Augmenter:
        fixed = type(self)(*(child.to_deterministic() for child in self.children))
        fixed.deterministic = True
        return fixed

    def augment_image(self, image: np.ndarray, hooks: Any = None, parents: Any = ()) -> np.ndarray:
        assert self.deterministic
        if hooks is None or hooks.is_activated([image], self, parents, True):
            image = self.change(image)
            for child in self.children:
                image = child.augment_image(image, hooks, (*parents, self))
        return image

    def change(self, image: np.ndarray) -> np.ndarray:
        return image


class Sequential(Augmenter):
    pass


class Flipud(Augmenter):
    def change(self, image: np.ndarray) -> np.ndarray:
        return image[::-1]


class Multiply(Augmenter):
    def change(self, image: np.ndarray) -> np.ndarray:
        return image // 2


def test_nuclei(mrcnn: None, tmp_path: Path) -> None:
    """Images with alpha, a file a mask, and an augmenter of imgaug's kind."""
    from mrcnn import model as modellib
    from mrcnn import utils

    inside = np.zeros((40, 48), bool)
    inside[4:18, 6:30] = True
    pixels = np.full((40, 48, 4), 60, np.uint8)
    pixels[inside] = (200, 200, 200, 0)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    Image.fromarray(inside).save(tmp_path / "mask.png")

    class NucleusDataset(utils.Dataset):
        def load_mask(self, image_id: int) -> Any:
            with Image.open(tmp_path / "mask.png") as file:
                mask = np.asarray(file).astype(bool)
            return np.stack([mask], axis=-1), np.ones([1], dtype=np.int32)

    data = NucleusDataset()
    data.add_class("nucleus", 1, "nucleus")
    data.add_image("nucleus", image_id="a", path=str(tmp_path / "image.png"))
    data.prepare()
    # Alpha is dropped, not blended: transparent pixels keep their colour.
    np.testing.assert_array_equal(data.load_image(0), pixels[..., :3])

    config = make_config("nucleus", IMAGE_RESIZE_MODE="crop")
    augmentation = Sequential(Flipud(), Multiply())
    rng = {"rng": np.random.default_rng(0)}
    plain = modellib.load_image_gt(data, config, 0, rng=np.random.default_rng(0))
    turned = modellib.load_image_gt(data, config, 0, augmentation=augmentation, **rng)
    np.testing.assert_array_equal(turned.image, plain.image[::-1] // 2)
    np.testing.assert_array_equal(turned.masks, plain.masks[::-1])

    model = modellib.MaskRCNN(mode="training", config=config, model_dir=str(tmp_path))
    losses = model.train(data, None, 0.001, epochs=1, layers="all", augmentation=augmentation)
    assert np.isfinite(losses.history["loss"]).all()
