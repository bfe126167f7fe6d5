"""The segmentation stage: which pixels of a photo are face mask, and where the masks are."""
