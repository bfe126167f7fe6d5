"""Every layer of ours that a `.keras` file may hold: `import unmask.layers` before one is loaded.

Keras finds the layers of other packages only once their modules are imported, and `import unmask`
alone imports no Keras.

Example:
    >>> import unmask.layers  # doctest: +SKIP
    >>> keras.saving.load_model("inpainting_male.keras")  # doctest: +SKIP
    <Functional name=generator, built=True>
"""

from unmask.inpainting.layers import (
    InstanceNormalization,
    NarrowConv2D,
    ReflectionPadding2D,
    ShrinkMask,
    SpectralConv2D,
)
from unmask.inpainting.lite import FineBrightness
from unmask.inpainting.paper import LongShortAttention
from unmask.landmarks.paper import AddCoordinates
from unmask.mrcnn.backbone import BatchNorm
from unmask.mrcnn.network import (
    DetectionLayer,
    FoldBoxes,
    ProposalLayer,
    PyramidROIAlign,
    UnfoldBoxes,
)
from unmask.rivals.aot import NormalisedGate
from unmask.rivals.layers import (
    AlignedUpSampling2D,
    ContextualAttention,
    SpectralConv2DTranspose,
)
