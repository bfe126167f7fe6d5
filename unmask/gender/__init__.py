"""Gender stage: which of two inpainting weights fits a face, also when a mask hides half of it."""

UNCERTAIN_BELOW = 0.75
"""Confidence of a calibrated answer below which it should be called uncertain: nearly four
in ten of such answers are wrong, and one may as well ask the user (`unmask.run(gender=...)`)."""
