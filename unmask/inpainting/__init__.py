"""The inpainting stage: a landmark-guided generator, in lite on a coarse completion."""
