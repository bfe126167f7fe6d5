"""Training and detecting: the class `MaskRCNN` and the functions that notebooks use beside it."""

from __future__ import annotations

import datetime
import logging
import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from unmask.data.stream import Stream
from unmask.errors import ImageError, UnmaskError
from unmask.io import PathLike, prepare_folder
from unmask.mrcnn.backbone import (
    BatchNorm,
    compute_backbone_shapes,
    conv_block,
    identity_block,
    resnet_graph,
)
from unmask.mrcnn.boxes import (
    apply_box_deltas_graph,
    batch_pack_graph,
    clip_boxes_graph,
    denorm_boxes,
    denorm_boxes_graph,
    norm_boxes,
    norm_boxes_graph,
    overlaps_graph,
    trim_zeros_graph,
)
from unmask.mrcnn.config import Config, check_config
from unmask.mrcnn.data import (
    Augmentation,
    BatchLoader,
    Dataset,
    RandomFlip,
    data_generator,
    load_image_gt,
    mold_image,
    pixel_anchors,
    unmold_image,
)
from unmask.mrcnn.h5 import (
    checkpoint_pattern,
    last_checkpoint,
    load_h5,
    read_checkpoint_path,
    run_folder,
    save_h5,
)
from unmask.mrcnn.images import (
    Window,
    compose_image_meta,
    parse_image_meta,
    parse_image_meta_graph,
    prepare_image,
    unmold_mask,
)
from unmask.mrcnn.network import (
    DetectionLayer,
    FoldBoxes,
    InferenceNetworks,
    ProposalLayer,
    PyramidROIAlign,
    TrainingNetwork,
    UnfoldBoxes,
    build_fpn_mask_graph,
    build_inference,
    build_rpn_model,
    fpn_classifier_graph,
    refine_detections_graph,
    rpn_graph,
)
from unmask.mrcnn.targets import (
    DetectionTargetLayer,
    build_detection_targets,
    build_rpn_targets,
    detection_targets_graph,
    generate_random_rois,
    mrcnn_bbox_loss_graph,
    mrcnn_class_loss_graph,
    mrcnn_mask_loss_graph,
    rpn_bbox_loss_graph,
    rpn_class_loss_graph,
    smooth_l1_loss,
)
from unmask.weights import LoadReport

__all__ = [
    "BatchLoader", "BatchNorm", "DetectionLayer", "DetectionTargetLayer", "MaskRCNN",
    "ProposalLayer", "PyramidROIAlign", "RandomFlip", "apply_box_deltas_graph",
    "batch_pack_graph", "build_detection_targets", "build_fpn_mask_graph", "build_rpn_model",
    "build_rpn_targets", "clip_boxes_graph", "compose_image_meta", "compute_backbone_shapes",
    "conv_block", "data_generator", "denorm_boxes_graph", "detection_targets_graph",
    "fpn_classifier_graph", "generate_random_rois", "identity_block", "load_image_gt", "log",
    "log2_graph", "mold_image", "mrcnn_bbox_loss_graph", "mrcnn_class_loss_graph",
    "mrcnn_mask_loss_graph", "norm_boxes_graph", "overlaps_graph", "parse_image_meta",
    "parse_image_meta_graph", "refine_detections_graph", "resnet_graph", "rpn_bbox_loss_graph",
    "rpn_class_loss_graph", "rpn_graph", "smooth_l1_loss", "trim_zeros_graph", "unmold_image",
]  # fmt: skip

Array = NDArray[Any]
log2_graph = ops.log2

_logger = logging.getLogger(__name__)

_HEADS = r"(mrcnn|rpn|fpn)_.*"
LAYERS = {
    "heads": _HEADS,
    "3+": rf"(res|bn)[345].*|{_HEADS}",
    "4+": rf"(res|bn)[45].*|{_HEADS}",
    "5+": rf"(res|bn)5.*|{_HEADS}",
    "all": ".*",
}
"""The keywords of `train(layers=...)` as expressions for names of layers."""

# Of a resnet50.
_IMAGENET_URL = (
    "https://github.com/fchollet/deep-learning-models/releases/download/v0.2/"
    "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
_IMAGENET_MD5 = "a268eb855778b3df3c7506639542a6af"

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
    """

    def __init__(self, mode: str, config: Config, model_dir: PathLike, seed: int = 0) -> None:
        if mode not in ("training", "inference"):
            raise ValueError(f"mode must be 'training' or 'inference'. Received: mode={mode!r}")
        check_config(config)
        self.mode, self.config, self.model_dir = mode, config, os.fspath(model_dir)
        self.anchors: NDArray[np.float64] | None = None
        self._anchor_cache: dict[tuple[int, int], tuple[Array, NDArray[np.float32]]] = {}
        self.seed = seed
        self._networks: InferenceNetworks | None = None
        self.set_log_dir()
        self.keras_model: keras.Model = self.build(mode, config)
        # Programs save with Keras' own method, which refuses the suffix that they give.
        self.keras_model.save_weights = partial(_save, self.keras_model.save_weights, self)

    def build(self, mode: str, config: Config) -> keras.Model:
        """Return a new network for a mode; called once, when the model is made."""
        if mode == "training":
            return TrainingNetwork(config, self.seed)
        self._networks = build_inference(config)
        return self._networks.whole

    # === Weights ===

    def load_weights(
        self,
        filepath: PathLike,
        by_name: bool = False,
        exclude: Collection[str] | None = None,
    ) -> LoadReport:
        """Load a `.h5` file, and continue its training if it is a checkpoint.

        Args:
            filepath: The file.
            by_name: Load the layers that the file has; False requires all of them.
            exclude: Names of layers to leave as they are; implies `by_name`.

        Raises:
            WeightsError: The file does not fit; nothing has been assigned then.
        """
        by_name = by_name or bool(exclude)
        report = load_h5(self.keras_model, filepath, exclude or (), complete=not by_name)
        self.set_log_dir(filepath)
        return report

    def save_weights(self, filepath: PathLike) -> None:
        """Write the weights as a `.h5` file that matterport's programs read too."""
        save_h5(self.keras_model, filepath)

    def get_imagenet_weights(self) -> str:
        """Download weights of the backbone trained on ImageNet and return the file's path.

        Raises:
            ValueError: The backbone is not a resnet50; none are published for others.
        """
        backbone = self.config.BACKBONE
        if backbone != "resnet50":
            raise ValueError(
                f"ImageNet weights exist for resnet50 alone. Received: BACKBONE={backbone!r}"
            )
        path = keras.utils.get_file(
            origin=_IMAGENET_URL, cache_subdir="models", file_hash=_IMAGENET_MD5
        )
        return str(path)

    def find_last(self) -> str:
        """Return this configuration's checkpoint of the highest epoch of the newest run with any.

        Raises:
            FileNotFoundError: There is none.
        """
        return str(last_checkpoint(self.model_dir, self._name))

    def set_log_dir(self, model_path: PathLike | None = None) -> None:
        """Choose the folder for logs: that of a checkpoint, or a new one named after the time."""
        known = read_checkpoint_path(model_path) if model_path else None
        _, time, self.epoch = known or ("", datetime.datetime.now(), 0)
        folder = run_folder(self.model_dir, self._name, time)
        self.log_dir = str(folder)
        self.checkpoint_path = checkpoint_pattern(folder, self._name)

    @property
    def _name(self) -> str:
        return str(self.config.NAME).lower()

    # === Training ===

    def set_trainable(
        self, layer_regex: str, keras_model: keras.Model | None = None, indent: int = 0,
        verbose: int = 0,
    ) -> list[str]:  # fmt: skip
        """Train the layers whose whole name matches, and only those; return their names."""
        chosen = []
        for layer in (keras_model or self.keras_model).layers:
            if isinstance(layer, keras.Model):
                # The leaves decide; a nested network that is frozen itself would freeze them all.
                layer.trainable = True
                chosen += self.set_trainable(layer_regex, layer)
            elif layer.weights:
                layer.trainable = bool(re.fullmatch(layer_regex, layer.name))
                chosen += [layer.name] if layer.trainable else []
        if verbose:
            _logger.info("layers that are trained: %s", ", ".join(chosen))
        return chosen

    def find_trainable_layer(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        """Return the layer that another one wraps, or itself."""
        while isinstance(layer, keras.layers.Wrapper):
            layer = layer.layer
        return layer

    def get_trainable_layers(self) -> list[keras.layers.Layer]:
        """Return the layers that have weights; those of the RPN are together in one network."""
        found = (self.find_trainable_layer(layer) for layer in self.keras_model.layers)
        return [layer for layer in found if layer.weights]

    def compile(self, learning_rate: float, momentum: float) -> None:
        """Set the optimiser: SGD with the gradient of each weight clipped."""
        self._require("training")
        self.keras_model.compile(
            optimizer=keras.optimizers.SGD(
                learning_rate, momentum=momentum, clipnorm=self.config.GRADIENT_CLIP_NORM or None
            ),
            jit_compile=keras.backend.backend() == "jax",
        )

    def train(
        self, train_dataset: Dataset, val_dataset: Dataset | None, learning_rate: float,
        epochs: int, layers: str, augmentation: Augmentation | None = None,
        custom_callbacks: Iterable[keras.callbacks.Callback] | None = None,
        no_augmentation_sources: Collection[str] | None = None,
    ) -> keras.callbacks.History:  # fmt: skip
        """Train, with a checkpoint after each epoch.

        Args:
            train_dataset: Prepared.
            val_dataset: Prepared; None for no validation.
            learning_rate: Of SGD.
            epochs: The epoch to end with, counted from the first training.
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
            no_augmentation_sources=no_augmentation_sources or (), seed=self.seed,
            first_epoch=self.epoch,
        )  # fmt: skip
        validation = None
        if val_dataset is not None:
            validation = BatchLoader(
                val_dataset, self.config, self.config.VALIDATION_STEPS, seed=self.seed
            )
        chosen = self.set_trainable(LAYERS.get(layers, layers))
        if not chosen:
            raise ValueError(f"no layer's name matches. Received: layers={layers!r}")
        _logger.info(
            "epoch %d to %d, learning rate %g, %d layers, checkpoints %s",
            self.epoch + 1, epochs, learning_rate, len(chosen), self.checkpoint_path,
        )  # fmt: skip
        if epochs <= self.epoch:
            _logger.warning("nothing to do: epochs=%d, trained already: %d", epochs, self.epoch)
            return keras.callbacks.History()
        keras.utils.set_random_seed(self.seed)
        self.compile(learning_rate, self.config.LEARNING_MOMENTUM)
        prepare_folder(self.log_dir)
        first, steps = self.epoch, self.config.STEPS_PER_EPOCH
        with Stream(loader.__getitem__) as stream:
            history = self.keras_model.fit(
                (batch for batch in stream), steps_per_epoch=steps, initial_epoch=first,
                epochs=epochs, validation_data=validation, shuffle=False, verbose=2,
                callbacks=[
                    StopOnNaN(), keras.callbacks.LambdaCallback(on_epoch_end=self._keep),
                    *_boards(self.log_dir), *(custom_callbacks or ()),
                ],
            )  # fmt: skip
        self.epoch += len(history.epoch)
        return history

    def _keep(self, epoch: int, _logs: Any = None) -> None:
        self.save_weights(self.checkpoint_path.format(epoch=epoch + 1))

    # === Detecting ===

    def detect(self, images: Sequence[Array], verbose: int = 0) -> list[dict[str, Array]]:
        """Detect objects.

        Args:
            images: Any number of (H, W, 3) RGB images of any size, values from 0 to 255.
            verbose: 1 to log what goes in.

        Returns:
            A dictionary an image: `rois` (n, 4) int32 pixels, `class_ids` (n,) int32, `scores` (n,)
            and `masks` (H, W, n) bool; best first.

        Raises:
            ValueError: The model is one for training.
            ImageError: An image's channels, values or size are not what the settings allow.
        """
        self._require("inference")
        results: list[dict[str, Array]] = []
        for molded, meta, window in self._molded(images):
            # One at a time: images of different sizes do not fit into one batch, and on a CPU a
            # batch is no faster.
            shape = meta[1:4].astype(int).tolist()
            if verbose:
                _logger.info("image %s, network input %s", shape, molded.shape)
            results += self._detect(molded[None], meta[None], [shape], [window])
        return results

    def detect_molded(
        self, molded_images: Array, image_metas: Array, verbose: int = 0
    ) -> list[dict[str, Array]]:
        """Detect in images (N, H, W, 3) of `mold_inputs`; boxes are in their pixels."""
        self._require("inference")
        if verbose:
            _logger.info("network input %s", molded_images.shape)
        shape = molded_images.shape[1:]
        whole = np.array([0, 0, shape[0], shape[1]])
        count = len(molded_images)
        return self._detect(molded_images, image_metas, [shape] * count, [whole] * count)

    def mold_inputs(self, images: Sequence[Array]) -> tuple[Array, Array, Array]:
        """Return molded images (N, H, W, 3), vectors (N, 12 + classes) and windows (N, 4), pixels.

        Raises:
            ValueError: There is none, or their sizes do not go into one batch.
            ImageError: As for `detect`.
        """
        if not len(images):
            raise ValueError("a batch needs an image. Received: images of length 0")
        molded, metas, windows = zip(*self._molded(images), strict=True)
        shapes = {image.shape for image in molded}
        if len(shapes) > 1:
            raise ValueError(
                f"images of one batch must end at one size. Received: {sorted(shapes)}"
            )
        return np.stack(molded), np.stack(metas), np.array(windows)

    def _molded(self, images: Sequence[Array]) -> Iterator[tuple[Array, Array, Window]]:
        """Yield what the network takes of each image: itself, its vector and its window."""
        if isinstance(images, np.ndarray) and images.ndim != 4:
            raise ImageError(
                f"images must be a list of images. Received: one array of shape {images.shape}"
            )
        config = self.config
        # Cropping at random is for training.
        mode = "square" if config.IMAGE_RESIZE_MODE == "crop" else config.IMAGE_RESIZE_MODE
        known = np.zeros(config.NUM_CLASSES, np.int32)
        for i, image in enumerate(images):
            shape, resized, window, scale, *_ = prepare_image(image, config, mode, f"images[{i}]")
            meta = compose_image_meta(0, shape, resized.shape, window, scale, known)
            yield mold_image(resized, config), meta, window

    def unmold_detections(
        self, detections: Array, mrcnn_mask: Array, original_image_shape: Sequence[int],
        image_shape: Sequence[int], window: Sequence[int] | Array,
    ) -> tuple[Array, Array, Array, Array]:  # fmt: skip
        """Turn the network's answer for one image into boxes, classes, scores and masks (H, W, n).

        Args:
            detections: (K, 6).
            mrcnn_mask: (K or more, h, w, classes).
            original_image_shape: Height and width of the image.
            image_shape: Height and width of the network's input.
            window: (4,) pixels, the image inside that.
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

    def ancestor(self, tensor: Any, name: str, checked: Any = None) -> Any:
        """Return the output of a layer, by its name, that a tensor is computed from, or None."""
        wanted = name.removesuffix(":0")
        for found in _upstream(tensor):
            if wanted in (found.name, found._keras_history.operation.name):
                return found
        return None

    def run_graph(
        self, images: Sequence[Array], outputs: Iterable[tuple[str, Any]],
        image_metas: Array | None = None,
    ) -> dict[str, Array]:  # fmt: skip
        """Return values inside the network, to look at.

        Args:
            images: As for `detect`; all end at one size.
            outputs: Pairs of a name and a tensor of `keras_model` or the name of a layer.
            image_metas: Vectors to use with images that are molded already.

        Returns:
            Arrays by name, the batch first; what the heads compute of R boxes is (N, R, ...).

        Raises:
            ValueError: An output is no tensor of the network.
        """
        self._require("inference")
        if image_metas is None:
            molded, image_metas, _ = self.mold_inputs(images)
        else:
            molded = np.asarray(images)
        tensors = {}
        for name, what in outputs:
            tensor = self.keras_model.get_layer(what).output if isinstance(what, str) else what
            if not hasattr(tensor, "_keras_history"):
                raise ValueError(
                    f"outputs must be tensors of the network or names of its layers. "
                    f"Received: {name!r}: {what!r}"
                )
            tensors[name] = tensor
        probe = keras.Model(self.keras_model.inputs, list(tensors.values()))
        probe.jit_compile = self.keras_model.jit_compile
        values = probe.predict_on_batch(self._inputs(molded, image_metas))
        if len(tensors) == 1 and not isinstance(values, (list, tuple)):
            values = [values]
        return {
            name: _unfolded(np.asarray(value), tensor, len(molded))
            for (name, tensor), value in zip(tensors.items(), values, strict=True)
        }

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


class StopOnNaN(keras.callbacks.Callback):
    """Stop the training when a loss is not a number, and say which and what helps."""

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Look at the losses."""
        bad = [name for name, value in (logs or {}).items() if not math.isfinite(float(value))]
        if bad:
            raise UnmaskError(
                f"batch {batch}: {', '.join(bad)} not finite. The learning rate is too high for "
                "these weights (0.001 suits weights from COCO), or an image holds NaN"
            )


def log(text: str, array: Array | None = None) -> None:
    """Print a text and, beside it, an array's shape, range and type."""
    if array is not None:
        values = np.asarray(array)
        span = f"min: {values.min():10.5f}  max: {values.max():10.5f}" if values.size else "empty"
        text = f"{text:25}  shape: {values.shape!s:20}  {span}  {values.dtype}"
    print(text)  # noqa: T201 -- notebooks call it for that


def _unfolded(value: Array, tensor: Any, batch: int) -> Array:
    """Return what a head computed of the boxes of all images, one after another, image by image."""
    for found in _upstream(tensor, UnfoldBoxes):
        operation = found._keras_history.operation
        if isinstance(operation, FoldBoxes):
            return value.reshape(batch, operation.input.shape[1], *value.shape[1:])
    return value


def _upstream(tensor: Any, stop: type | tuple[()] = ()) -> Iterator[Any]:
    """Yield a tensor and all that lead to it, but nothing beyond layers of the kind `stop`."""
    seen: set[int] = set()
    waiting = [tensor]
    while waiting:
        here = waiting.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        yield here
        # Keras' record of what a tensor was computed from; it has no public name.
        operation, node, _ = here._keras_history
        if not isinstance(operation, stop):
            waiting += operation._inbound_nodes[node].input_tensors


def _save(
    by_keras: Callable[..., None], model: MaskRCNN, filepath: PathLike, **options: Any
) -> None:
    """Save a network as a program asks for it: a `.h5` file is one of matterport's layout."""
    path = os.fspath(filepath)
    if path.endswith(".h5") and not path.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        by_keras(path, **options)


def _boards(log_dir: str) -> list[keras.callbacks.Callback]:
    """Return what writes event files, where TensorBoard is installed."""
    if find_spec("tensorboard") is None:
        _logger.warning("no event files are written: TensorBoard is not installed")
        return []
    return [keras.callbacks.TensorBoard(log_dir, write_graph=False)]
