"""Training and detecting: the class `MaskRCNN` and the functions that notebooks use beside it."""

from __future__ import annotations

import datetime
import logging
import os
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.mrcnn.backbone import compute_backbone_shapes
from unmask.mrcnn.boxes import denorm_boxes, norm_boxes
from unmask.mrcnn.callbacks import SaveCheckpoint, StopOnNaN
from unmask.mrcnn.config import Config, check_config
from unmask.mrcnn.data import (
    Augmentation,
    BatchLoader,
    RandomFlip,
    data_generator,
    load_image_gt,
    mold_image,
    pixel_anchors,
    unmold_image,
)
from unmask.mrcnn.dataset import Dataset
from unmask.mrcnn.h5 import load_h5, save_h5
from unmask.mrcnn.meta import compose_image_meta, parse_image_meta
from unmask.mrcnn.network import InferenceNetworks, TrainingNetwork, build_inference
from unmask.mrcnn.normalisation import BatchNorm
from unmask.mrcnn.resizing import resize_image, unmold_mask
from unmask.mrcnn.targets import build_rpn_targets
from unmask.weights import LoadReport

__all__ = [
    "BatchLoader",
    "BatchNorm",
    "MaskRCNN",
    "RandomFlip",
    "build_rpn_targets",
    "compose_image_meta",
    "compute_backbone_shapes",
    "data_generator",
    "load_image_gt",
    "log",
    "mold_image",
    "parse_image_meta",
    "unmold_image",
]

Array = NDArray[Any]

_logger = logging.getLogger(__name__)

LAYERS = {
    "heads": r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "3+": r"(res3.*)|(bn3.*)|(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "4+": r"(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "5+": r"(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "all": ".*",
}
"""The keywords of `train(layers=...)` as expressions for names of layers."""

_CHECKPOINT = re.compile(
    r".*[/\\][\w-]+(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})[/\\]mask_rcnn_[\w-]+?(\d{4})\.h5"
)

_IMAGENET = {
    "resnet50": (
        "https://github.com/fchollet/deep-learning-models/releases/download/v0.2/"
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "a268eb855778b3df3c7506639542a6af",
    )
}

# Numbers of masks that are drawn together; each is compiled once.
_MASK_BATCHES = (8, 32)


class MaskRCNN:
    """A Mask R-CNN with matterport's interface.

    Args:
        mode: "training" or "inference".
        config: The settings.
        model_dir: Folder for logs and checkpoints.
        seed: Seed of everything random in a training.

    Attributes:
        mode: As given.
        config: As given.
        keras_model: The network.
        epoch: Epochs that the weights are trained for.
        log_dir: Folder of this training.
        checkpoint_path: Pattern of its files.
        anchors: Anchors in pixels of the image shape last asked for.

    Raises:
        ValueError: The mode is unknown or the settings contradict each other.

    Example:
        >>> from unmask.mrcnn.config import Config
        >>> class Tiny(Config):
        ...     NAME, NUM_CLASSES, BACKBONE = "tiny", 2, "resnet50"
        ...     IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
        >>> model = MaskRCNN("inference", Tiny(), "logs")               # doctest: +SKIP
        >>> model.detect([np.zeros((50, 40, 3), np.uint8)])[0].keys()   # doctest: +SKIP
        dict_keys(['rois', 'class_ids', 'scores', 'masks'])

    Reference:
        He et al., "Mask R-CNN", ICCV 2017.
    """

    def __init__(
        self, mode: str, config: Config, model_dir: str | os.PathLike[str], seed: int = 0
    ) -> None:
        if mode not in ("training", "inference"):
            raise ValueError(f"mode must be 'training' or 'inference'. Received: mode={mode!r}")
        check_config(config)
        self.mode, self.config, self.model_dir = mode, config, os.fspath(model_dir)
        self.anchors: NDArray[np.float64] | None = None
        self._anchor_cache: dict[tuple[int, int], tuple[Array, NDArray[np.float32]]] = {}
        self._seed = seed
        self._networks: InferenceNetworks | None = None
        self.set_log_dir()
        if mode == "training":
            self.keras_model: keras.Model = TrainingNetwork(config, seed)
        else:
            self._networks = build_inference(config)
            self.keras_model = self._networks.whole

    # === Weights ===

    def load_weights(
        self,
        filepath: str | os.PathLike[str],
        by_name: bool = False,
        exclude: Collection[str] | None = None,
    ) -> LoadReport:
        """Load a `.h5` file, and continue its training if it is a checkpoint.

        Args:
            filepath: The file.
            by_name: Load the layers that the file has; False requires all of them. A file of a
                backbone alone, such as ImageNet's, needs True.
            exclude: Names of layers to leave as they are; implies `by_name`.

        Returns:
            Which layers were loaded, which the file does not have, and which it has in vain.

        Raises:
            WeightsError: The file does not fit; nothing has been assigned then.
        """
        by_name = by_name or bool(exclude)
        report = load_h5(self.keras_model, filepath, exclude or (), complete=not by_name)
        self.set_log_dir(filepath)
        return report

    def save_weights(self, filepath: str | os.PathLike[str]) -> None:
        """Write the weights as a `.h5` file that matterport's programs read too."""
        save_h5(self.keras_model, filepath)

    def get_imagenet_weights(self) -> str:
        """Download weights of the backbone trained on ImageNet and return the file's path.

        Raises:
            ValueError: The backbone is not a resnet50; no file with these layers is published for
                others, and a part of a resnet101 filled from a resnet50 would not be a network.
        """
        backbone = self.config.BACKBONE
        if callable(backbone) or backbone not in _IMAGENET:
            raise ValueError(
                f"ImageNet weights exist for {tuple(_IMAGENET)}. Received: BACKBONE={backbone!r}"
            )
        url, md5 = _IMAGENET[backbone]
        name = url.rsplit("/", 1)[-1]
        return str(keras.utils.get_file(name, url, cache_subdir="models", file_hash=md5))

    def find_last(self) -> str:
        """Return the path of the last checkpoint of this configuration.

        Raises:
            FileNotFoundError: There is none.
        """
        name = str(self.config.NAME).lower()
        folder = Path(self.model_dir)
        found = [
            sorted(run.glob("mask_rcnn*.h5"))
            for run in sorted(folder.glob(f"{name}*"))
            if run.is_dir()
        ]
        if not found or not found[-1]:
            raise FileNotFoundError(f"no checkpoint of {name!r} under {folder}")
        return str(found[-1][-1])

    def set_log_dir(self, model_path: str | os.PathLike[str] | None = None) -> None:
        """Choose the folder for logs: that of a checkpoint, or a new one named after the time."""
        self.epoch = 0
        now = datetime.datetime.now()
        match = _CHECKPOINT.match(str(Path(model_path).absolute())) if model_path else None
        if match:
            year, month, day, hour, minute, epoch = (int(group) for group in match.groups())
            now = datetime.datetime(year, month, day, hour, minute)
            self.epoch = epoch
        name = str(self.config.NAME).lower()
        self.log_dir = str(Path(self.model_dir) / f"{name}{now:%Y%m%dT%H%M}")
        self.checkpoint_path = str(Path(self.log_dir) / f"mask_rcnn_{name}_{{epoch:04d}}.h5")

    # === Training ===

    def set_trainable(self, layer_regex: str) -> list[str]:
        """Train the layers whose whole name matches, and only those.

        Returns:
            Their names.
        """
        return _set_trainable(self.keras_model, re.compile(layer_regex))

    def compile(self, learning_rate: float, momentum: float) -> None:
        """Set the optimiser: SGD with the gradient of each weight clipped."""
        self._require("training")
        self.keras_model.compile(
            optimizer=keras.optimizers.SGD(
                learning_rate, momentum=momentum, clipnorm=self.config.GRADIENT_CLIP_NORM
            ),
            jit_compile=keras.backend.backend() == "jax",
        )

    def train(
        self,
        train_dataset: Dataset,
        val_dataset: Dataset | None,
        learning_rate: float,
        epochs: int,
        layers: str,
        augmentation: Augmentation | None = None,
        custom_callbacks: Iterable[keras.callbacks.Callback] | None = None,
        no_augmentation_sources: Collection[str] | None = None,
    ) -> keras.callbacks.History:
        """Train, with a checkpoint after each epoch.

        Args:
            train_dataset: Prepared.
            val_dataset: Prepared; None for no validation.
            learning_rate: Of SGD.
            epochs: The epoch to end with, counted from the first training: 40, then 120, then 160
                for the schedule of COCO.
            layers: "heads", "5+", "4+", "3+", "all", or an expression for names of layers.
            augmentation: A function `(image, masks) -> (image, masks)` that keeps their sizes.
            custom_callbacks: Further Keras callbacks.
            no_augmentation_sources: Sources whose images are not augmented.

        Returns:
            Keras' history: the losses of each epoch.

        Raises:
            DataError: The data set does not fit the settings, or too many images cannot be used.
            UnmaskError: A loss became NaN.
            ValueError: `layers` matches nothing.
        """
        self._require("training")
        loader = BatchLoader(
            train_dataset, self.config, self.config.STEPS_PER_EPOCH, augmentation=augmentation,
            no_augmentation_sources=no_augmentation_sources or (), seed=self._seed,
            first_epoch=self.epoch,
        )  # fmt: skip
        validation = None
        if val_dataset is not None:
            validation = BatchLoader(
                val_dataset, self.config, self.config.VALIDATION_STEPS, seed=self._seed
            )
        chosen = self.set_trainable(LAYERS.get(layers, layers))
        if not chosen:
            raise ValueError(f"no layer's name matches. Received: layers={layers!r}")
        _logger.info(
            "epoch %d to %d, learning rate %g, %d layers, checkpoints %s",
            self.epoch + 1, epochs, learning_rate, len(chosen), self.checkpoint_path,
        )  # fmt: skip
        self.compile(learning_rate, self.config.LEARNING_MOMENTUM)
        history = self.keras_model.fit(
            loader,
            initial_epoch=self.epoch,
            epochs=epochs,
            validation_data=validation,
            callbacks=[
                StopOnNaN(),
                keras.callbacks.TensorBoard(self.log_dir, write_graph=False),
                SaveCheckpoint(lambda epoch: Path(self.checkpoint_path.format(epoch=epoch))),
                *(custom_callbacks or ()),
            ],
            shuffle=False,
        )
        self.epoch = max(self.epoch, epochs)
        return history

    # === Detecting ===

    def detect(self, images: Sequence[Array], verbose: int = 0) -> list[dict[str, Array]]:
        """Detect objects.

        Args:
            images: Any number of (H, W, 3) uint8 RGB images of any size.
            verbose: 1 to log what goes in.

        Returns:
            A dictionary an image: `rois` (n, 4) int32 pixels, `class_ids` (n,) int32, `scores` (n,)
            and `masks` (H, W, n) bool; best first.

        Raises:
            ValueError: The model is one for training, or an image has another shape.
        """
        self._require("inference")
        results: list[dict[str, Array]] = []
        for image in images:
            # One at a time: images of different sizes do not fit into one batch, and on a CPU a
            # batch is no faster.
            molded, metas, windows = self.mold_inputs([image])
            if verbose:
                _logger.info("image %s, network input %s", image.shape, molded.shape)
            results += self._detect(molded, metas, [image.shape], windows)
        return results

    def detect_molded(
        self, molded_images: Array, image_metas: Array, verbose: int = 0
    ) -> list[dict[str, Array]]:
        """Detect in images that are resized and have the mean subtracted; boxes are in theirs.

        Args:
            molded_images: (N, H, W, 3) float32.
            image_metas: (N, 12 + classes).
            verbose: 1 to log what goes in.
        """
        self._require("inference")
        if verbose:
            _logger.info("network input %s", molded_images.shape)
        shape = molded_images.shape[1:]
        whole = np.array([0, 0, shape[0], shape[1]])
        count = len(molded_images)
        return self._detect(molded_images, image_metas, [shape] * count, [whole] * count)

    def mold_inputs(self, images: Sequence[Array]) -> tuple[Array, Array, Array]:
        """Resize images and subtract the mean.

        Returns:
            Images (N, H, W, 3), vectors (N, 12 + classes) and windows (N, 4) in pixels.

        Raises:
            ValueError: An image has another shape, or their sizes do not go into one batch.
        """
        molded, metas, windows = [], [], []
        config = self.config
        for i, image in enumerate(images):
            if image.ndim != 3 or image.shape[-1] != config.IMAGE_CHANNEL_COUNT:
                raise ValueError(
                    f"images must be (H, W, {config.IMAGE_CHANNEL_COUNT}). "
                    f"Received: images[{i}] of shape {image.shape}"
                )
            # Cropping at random is for training.
            mode = "square" if config.IMAGE_RESIZE_MODE == "crop" else config.IMAGE_RESIZE_MODE
            resized, window, scale, _, _ = resize_image(
                image, config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM, config.IMAGE_MIN_SCALE, mode
            )
            molded.append(mold_image(resized, config))
            windows.append(window)
            known = np.zeros(config.NUM_CLASSES, np.int32)
            metas.append(compose_image_meta(0, image.shape, resized.shape, window, scale, known))
        shapes = {image.shape for image in molded}
        if len(shapes) > 1:
            raise ValueError(
                f"images of one batch must end at one size. Received: {sorted(shapes)}"
            )
        return np.stack(molded), np.stack(metas), np.array(windows)

    def unmold_detections(
        self,
        detections: Array,
        mrcnn_mask: Array,
        original_image_shape: Sequence[int],
        image_shape: Sequence[int],
        window: Sequence[int] | Array,
    ) -> tuple[Array, Array, Array, Array]:
        """Turn the network's answer for one image into boxes and masks of that image.

        Args:
            detections: (K, 6).
            mrcnn_mask: (K or more, h, w, classes).
            original_image_shape: Height and width of the image.
            image_shape: Height and width of the network's input.
            window: (4,) pixels, the image inside that.

        Returns:
            Boxes (n, 4) int32, class numbers (n,) int32, scores (n,) and masks (H, W, n) bool.
        """
        ends = np.flatnonzero(detections[:, 4] == 0)
        count = int(ends[0]) if len(ends) else len(detections)
        normalised = norm_boxes(window, image_shape[:2])
        corner, size = np.tile(normalised[:2], 2), np.tile(normalised[2:] - normalised[:2], 2)
        boxes = (detections[:count, :4] - corner) / size
        rois = denorm_boxes(boxes, original_image_shape[:2])
        classes, scores = detections[:count, 4].astype(np.int32), detections[:count, 5]
        solid = np.flatnonzero((rois[:, 2] > rois[:, 0]) & (rois[:, 3] > rois[:, 1]))
        rois, classes, scores = rois[solid], classes[solid], scores[solid]
        masks = np.zeros((*original_image_shape[:2], len(solid)), bool)
        for i, row in enumerate(solid):
            masks[:, :, i] = unmold_mask(
                mrcnn_mask[row, :, :, classes[i]], rois[i], original_image_shape
            )
        return rois, classes, scores, masks

    def get_anchors(self, image_shape: Sequence[int]) -> NDArray[np.float32]:
        """Return the normalised anchors (A, 4) of an image shape; kept for the next time."""
        key = (int(image_shape[0]), int(image_shape[1]))
        if key not in self._anchor_cache:
            pixels = pixel_anchors(self.config, key)
            self._anchor_cache[key] = pixels, norm_boxes(pixels, key)
        self.anchors, normalised = self._anchor_cache[key]
        return normalised

    def run_graph(
        self,
        images: Sequence[Array],
        outputs: Sequence[tuple[str, Any]],
        image_metas: Array | None = None,
    ) -> dict[str, Array]:
        """Return values inside the network, to look at.

        Args:
            images: As for `detect`; all end at one size.
            outputs: Pairs of a name and a tensor of `keras_model` or the name of a layer.
            image_metas: Vectors to use instead of those that the images give; the images are
                molded already then.
        """
        self._require("inference")
        if image_metas is None:
            molded, image_metas, _ = self.mold_inputs(images)
        else:
            molded = np.asarray(images)
        tensors = [
            self.keras_model.get_layer(what).output if isinstance(what, str) else what
            for _, what in outputs
        ]
        probe = keras.Model(self.keras_model.inputs, tensors)
        probe.jit_compile = self.keras_model.jit_compile
        values = probe.predict_on_batch(self._inputs(molded, image_metas))
        return {name: np.asarray(v) for (name, _), v in zip(outputs, values, strict=True)}

    def _detect(
        self, molded: Array, metas: Array, shapes: Sequence[Sequence[int]], windows: Any
    ) -> list[dict[str, Array]]:
        assert self._networks is not None  # _require
        detections, *pyramid = self._networks.boxes.predict_on_batch(self._inputs(molded, metas))
        count = int((detections[..., 4] > 0).sum(axis=1).max(initial=0))
        most = detections.shape[1]
        batch = next((n for n in _MASK_BATCHES if count <= n < most), most)
        rows = np.ascontiguousarray(detections[:, :batch, :4])
        masks = self._networks.masks.predict_on_batch([rows, metas.astype(np.float32), *pyramid])
        results = []
        for i, shape in enumerate(shapes):
            rois, classes, scores, full = self.unmold_detections(
                detections[i], masks[i], shape, molded.shape[1:], windows[i]
            )
            results.append({"rois": rois, "class_ids": classes, "scores": scores, "masks": full})
        return results

    def _inputs(self, molded: Array, metas: Array) -> list[Array]:
        anchors = self.get_anchors(molded.shape[1:])
        anchors = np.broadcast_to(anchors, (len(molded), *anchors.shape))
        return [molded, np.asarray(metas, np.float32), np.ascontiguousarray(anchors)]

    def _require(self, mode: str) -> None:
        if self.mode != mode:
            raise ValueError(
                f"this needs a model built with mode={mode!r}. Received: mode={self.mode!r}"
            )


def log(text: str, array: Array | None = None) -> None:
    """Print a text and, beside it, an array's shape, range and type."""
    if array is not None:
        values = np.asarray(array)
        span = f"min: {values.min():10.5f}  max: {values.max():10.5f}" if values.size else "empty"
        text = f"{text:25}  shape: {values.shape!s:20}  {span}  {values.dtype}"
    print(text)  # noqa: T201 -- notebooks call it for that


def _set_trainable(model: keras.Model, pattern: re.Pattern[str]) -> list[str]:
    chosen = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            # The leaves decide; a nested network that is frozen itself would freeze them all.
            layer.trainable = True
            chosen += _set_trainable(layer, pattern)
        elif layer.weights:
            layer.trainable = bool(pattern.fullmatch(layer.name))
            chosen += [layer.name] if layer.trainable else []
    return chosen
