"""The segmentation stage: which pixels of a photo belong to a face mask, and where the masks are."""
