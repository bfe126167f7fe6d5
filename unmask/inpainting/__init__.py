"""The inpainting stage: a landmark-guided generator on a linear first guess."""
