"""Figures that the paper prints. They are quoted, never computed here."""

from __future__ import annotations

from dataclasses import dataclass

CITATION = "Modak et al., A Deep Learning Framework to Reconstruct Face under Mask, 2022, section F"


@dataclass(frozen=True)
class Quote:
    """One row of the paper's table."""

    data: str
    metric: str  # "PSNR" (dB) or "SSIM". The paper states the protocol of neither.
    male: str  # figure of the model for male faces, as printed
    female: str  # the same for female faces


QUOTES = (
    Quote("FFHQ", "PSNR", "28.82", "30.00"),
    Quote("FFHQ", "SSIM", "0.93", "0.95"),
    Quote("CelebA", "PSNR", "31.40", "33.32"),
    Quote("CelebA", "SSIM", "0.97", "0.98"),
)
