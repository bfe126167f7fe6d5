"""The segmentation stage: which pixels of a photo are face mask, and where the masks are."""

STRIDE = 32
"""Sides of what the U-Net sees are multiples of this many pixels."""
