"""Masks of our own, drawn onto faces, with the exact binary mask."""

from unmask.synthesis.drawing import ALL_KINDS
from unmask.synthesis.masktheface import load_masktheface
from unmask.synthesis.synthesizer import MaskedFace, MaskSynthesizer
from unmask.synthesis.template import Loops, MaskTemplate

__all__ = [
    "ALL_KINDS", "Loops", "MaskSynthesizer", "MaskTemplate", "MaskedFace", "load_masktheface",
]  # fmt: skip
