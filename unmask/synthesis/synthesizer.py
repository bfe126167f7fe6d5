"""`MaskSynthesizer`: faces in, masked faces out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from unmask.synthesis.compose import compose
from unmask.synthesis.drawing import ALL_KINDS, SHARES, draw_template
from unmask.synthesis.head import head_from_landmarks
from unmask.synthesis.template import MaskTemplate
from unmask.synthesis.wear import FITS, wear


@dataclass(frozen=True, eq=False)
class MaskedFace:
    """A face that wears a drawn mask.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        mask: `(H, W)` bool, True on the mask's body (without ear loops and shadow).
        kind: Family of the mask.
    """

    image: np.ndarray = field(repr=False)
    mask: np.ndarray = field(repr=False)
    kind: str


class MaskSynthesizer:
    """Puts drawn masks onto faces.

    The result depends on `(seed, index)` and the inputs alone, not on earlier calls.

    Args:
        seed: Seed of the bank and of every call.
        bank_size: Number of masks that are drawn (each at its first use) and worn in turn.
        kinds: Families to draw from, a subset of `ALL_KINDS`.
        templates: Further masks, for example from `load_masktheface`; they join the bank.

    Example:
        >>> import numpy as np
        >>> from unmask.synthesis import MaskSynthesizer
        >>> synth = MaskSynthesizer(seed=0, bank_size=4)
        >>> image = np.full((64, 64, 3), 150, np.uint8)
        >>> angle = np.linspace(np.pi, 0, 33)
        >>> landmarks = np.full((98, 2), 32.0)
        >>> landmarks[:33] = np.stack([32 + 22 * np.cos(angle), 24 + 28 * np.sin(angle)], 1)
        >>> landmarks[51:55, 1] = [24, 28, 32, 36]
        >>> landmarks[[60, 64, 68, 72], 1] = 24
        >>> landmarks[[76, 82], 1] = 43
        >>> synth(image, landmarks, 7).mask.any()
        np.True_
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        bank_size: int = 96,
        kinds: Sequence[str] = ALL_KINDS,
        templates: Sequence[MaskTemplate] = (),
    ) -> None:
        unknown = [kind for kind in kinds if kind not in ALL_KINDS]
        if unknown or (not kinds and not templates):
            raise ValueError(f"kinds must be some of {ALL_KINDS}. Received: kinds={tuple(kinds)}")
        if bank_size < 1:
            raise ValueError(f"bank_size must be at least 1. Received: bank_size={bank_size}")
        self.seed = seed
        self._kinds = tuple(kinds)
        self._templates = tuple(templates)
        self._bank: list[MaskTemplate | None] = [None] * bank_size

    def __call__(self, image: np.ndarray, landmarks: np.ndarray, index: int) -> MaskedFace:
        """Put a mask onto a face.

        Args:
            image: `(H, W, 3)` uint8 RGB, any size; not changed.
            landmarks: `(98, 2)` or `(68, 2)`, (x, y) in pixels of the image.
            index: Number of the sample; the same number gives the same mask.

        Returns:
            The masked face.

        Raises:
            ValueError: For an image or landmarks of another shape or type.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f"image must be (H, W, 3) uint8. Received: shape={image.shape}, dtype={image.dtype}"
            )
        head = head_from_landmarks(landmarks)
        rng = np.random.default_rng([self.seed, index])
        template = self._template(int(rng.integers(len(self._bank))))
        masked, mask = compose(image, template, wear(head, FITS[template.kind], rng), rng)
        return MaskedFace(masked, mask, template.kind)

    def _template(self, number: int) -> MaskTemplate:
        template = self._bank[number]
        if template is None:
            rng = np.random.default_rng([self.seed, 1, number])
            shares = np.array([SHARES[kind] for kind in self._kinds])
            kind = self._kinds[rng.choice(len(shares), p=shares / shares.sum())]
            template = draw_template(kind, rng)
            self._bank[number] = template
        return template
