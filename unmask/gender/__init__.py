"""Gender stage: which of two inpainting weights fits a face, also when a mask hides half of it."""
