"""`MaskSynthesizer`: faces in, masked faces out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from unmask.errors import SettingError
from unmask.synthesis.compose import compose
from unmask.synthesis.drawing import ALL_KINDS, SHARES, draw_template
from unmask.synthesis.template import MaskTemplate, flatten
from unmask.synthesis.wear import FITS, Head, head_from_landmarks, wear


@dataclass(frozen=True, eq=False)
class MaskedFace:
    """A face that wears a drawn mask.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, True on the mask's body (without ear loops and shadow).
        loops: (H, W) bool, True on its ear loops where they show.
        kind: Family of the mask.
    """

    image: np.ndarray = field(repr=False)
    mask: np.ndarray = field(repr=False)
    loops: np.ndarray = field(repr=False)
    kind: str


class MaskSynthesizer:
    """Puts drawn masks onto faces.

    The result depends on `(seed, index)` and the inputs alone, not on earlier calls.

    Args:
        seed: Seed of the bank and of every call.
        bank_size: Number of masks that are drawn, each at its first use; about 0.2 MB each. 0 for
            `templates` alone.
        kinds: Families to draw from, a subset of `ALL_KINDS`.
        templates: Further masks, for example from `load_masktheface`; they join the bank. Where a
            mask has views for turned heads, the head decides.

    Raises:
        SettingError: For an unknown kind, a negative bank size or nothing to choose from.

    Example:
        >>> import numpy as np
        >>> from unmask.synthesis import MaskSynthesizer
        >>> synth = MaskSynthesizer(seed=0, bank_size=4)
        >>> face = np.full((64, 64, 3), 150, np.uint8)
        >>> landmarks = np.random.default_rng(0).uniform(8, 56, (98, 2))
        >>> synth(face, landmarks, 7).mask.shape
        (64, 64)
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        bank_size: int = 160,
        kinds: Sequence[str] = ALL_KINDS,
        templates: Sequence[MaskTemplate] = (),
    ) -> None:
        unknown = [kind for kind in kinds if kind not in ALL_KINDS]
        if unknown or not kinds:
            raise SettingError(f"kinds must be some of {ALL_KINDS}. Received: kinds={tuple(kinds)}")
        if bank_size < 0 or not (bank_size or templates):
            raise SettingError(
                "bank_size must be at least 1, or 0 where templates are given. "
                f"Received: bank_size={bank_size}"
            )
        self.seed = seed
        self._kinds = tuple(kinds)
        self._sets = _group_views(templates)
        self._bank: list[MaskTemplate | None] = [None] * bank_size

    def __call__(self, image: np.ndarray, landmarks: np.ndarray, index: int) -> MaskedFace:
        """Put a mask onto a face.

        Args:
            image: (H, W, 3) uint8 RGB, any size; not changed.
            landmarks: (98, 2) or (68, 2), (x, y) in pixels of the image.
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
        template = self._choose(head, rng)
        surface = wear(head, FITS[template.kind], rng)
        masked, mask, loops = compose(image, template, head, surface, rng)
        return MaskedFace(masked, mask, loops, template.kind)

    def _choose(self, head: Head, rng: np.random.Generator) -> MaskTemplate:
        number = int(rng.integers(len(self._bank) + len(self._sets)))
        if number < len(self._bank):
            return self._drawn(number)
        views = self._sets[number - len(self._bank)]
        return views.get(head.view()) or next(iter(views.values()))

    def _drawn(self, number: int) -> MaskTemplate:
        template = self._bank[number]
        if template is None:
            # Threads may draw the same mask twice; both draw the same pixels.
            rng = np.random.default_rng([self.seed, 1, number])
            shares = np.array([SHARES[kind] for kind in self._kinds])
            kind = self._kinds[rng.choice(len(shares), p=shares / shares.sum())]
            template = self._bank[number] = draw_template(kind, rng)
        return template


def _group_views(templates: Sequence[MaskTemplate]) -> list[dict[str, MaskTemplate]]:
    """Flatten templates and collect the views of each named mask, front first."""
    sets: dict[str, dict[str, MaskTemplate]] = {}
    for number, template in enumerate(templates):
        if template.kind not in FITS:
            raise ValueError(
                f"templates[{number}].kind must be one of {tuple(FITS)}. "
                f"Received: kind={template.kind!r}"
            )
        views = sets.setdefault(template.name or f"#{number}", {})
        views[template.view] = flatten(template)
    return [dict(sorted(views.items())) for views in sets.values()]
