"""The parsing stage: which pixels of a face are skin, brow, eye, nose, lip or hair.

No photo needs it; the generator's training may (`losses.parsing`).
"""

CLASSES = (
    "background", "skin", "left brow", "right brow", "left eye", "right eye", "nose",
    "upper lip", "inner mouth", "lower lip", "hair",
)  # fmt: skip
"""What a pixel can be, in the order of the labels 0 to 10.

Left and right are the person's own. Ears, neck, hats, jewellery and clothes are background.

Reference:
    Smith et al., "Exemplar-Based Face Parsing", CVPR 2013 (Helen), which Li et al., "Generative
    Face Completion", CVPR 2017, train their parser on.
"""

STRIDE = 32
"""Sides of what the parser sees are multiples of this many pixels."""
