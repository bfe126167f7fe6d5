"""Batches for training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import FaceRecord, read_face_folder
from unmask.segmentation.scenes import SceneComposer, SceneMix
from unmask.segmentation.sources import FacePool, labelme_examples, png_examples

# Side of the scenes and scenes a batch: about the same number of pixels, so of seconds, each.
DEFAULT_SHAPES = ((160, 32), (192, 24), (256, 13), (320, 8))


class MaskDataset(keras.utils.PyDataset):
    """Endless scenes in batches whose size changes from step to step.

    Small scenes are cheap and many; large ones show what whole photos look like. The batches are a
    function of the seed and the step alone.

    Args:
        composer: Makes the scenes.
        steps: Batches an epoch.
        shapes: (side, scenes) of the batches, in turn. The first two must differ in both numbers:
            Keras infers from them which dimensions vary.
        first_epoch: Epoch to continue with after an interruption.
    """

    def __init__(
        self,
        composer: SceneComposer,
        steps: int,
        shapes: Sequence[tuple[int, int]] = DEFAULT_SHAPES,
        first_epoch: int = 0,
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=12)
        if len(shapes) > 1 and (shapes[0][0] == shapes[1][0] or shapes[0][1] == shapes[1][1]):
            raise ValueError(f"the first two shapes must differ. Received: shapes={shapes}")
        self._composer, self._steps, self._shapes = composer, steps, tuple(shapes)
        self._epoch = first_epoch

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return images (B, S, S, 3) in [0, 1] and masks (B, S, S, 1)."""
        step = self._epoch * self._steps + index
        size, count = self._shapes[step % len(self._shapes)]
        largest = max(count for _, count in self._shapes)
        scenes = [self._composer.scene(step * largest + i, size) for i in range(count)]
        images = np.stack([image for image, _ in scenes]).astype(np.float32) / 255.0
        masks = np.stack([mask for _, mask in scenes])[..., None].astype(np.float32)
        return images, masks

    def on_epoch_end(self) -> None:
        """Go on to the next scenes."""
        self._epoch += 1


def read_faces(data: Path, split: str, per_folder: int | None = None) -> list[FaceRecord]:
    """Read the unmasked faces of all face folders.

    Args:
        data: Folder with `faces_wide`, `faces_male` and `faces_female` (those that exist).
        split: "train" or "val".
        per_folder: Take at most so many from each, evenly spread.

    Returns:
        The records.
    """
    records = []
    for name in ("faces_wide", "faces_male", "faces_female"):
        if (data / name).is_dir():
            found = read_face_folder(data / name, split=split)
            records += found[:: max(1, -(-len(found) // per_folder))] if per_folder else found
    return records


def build_composer(
    data: Path,
    seed: int,
    per_folder: int = 1100,
    further: Sequence[Path] = (),
    mix: SceneMix | None = None,
) -> SceneComposer:
    """Read everything that the training split offers.

    Args:
        data: Folder with `masks_labelme`, `mask_segmentation` and the face folders.
        seed: Seed of the scenes.
        per_folder: Most faces to keep in memory from one folder.
        further: Folders of NAME.jpg + NAME.png (2 where a mask is) whose photos count like those
            of `masks_labelme`.
        mix: How often each kind of scene appears; the default of `SceneMix` when None.

    Returns:
        A composer of training scenes.

    Raises:
        DataError: The labelled photos are missing.
    """
    pairs = data / "mask_segmentation"
    photos = labelme_examples(data / "masks_labelme", "train")
    return SceneComposer(
        photos=[*photos, *(e for folder in further for e in png_examples(folder, None))],
        pairs=png_examples(pairs, "train") if pairs.is_dir() else [],
        faces=FacePool(read_faces(data, "train", per_folder), seed),
        seed=seed,
        mix=mix,
    )
