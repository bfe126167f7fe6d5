"""The segmentation stage: which pixels of a photo are face mask, and where the masks are."""

STRIDE = 32
"""Sides of what the U-Net sees are multiples of this many pixels."""
VIEW_SIDE = 96
"""Side of what the verifier sees, in pixels."""
