"""The compared systems as one network each, which is trained and kept as a whole."""

from __future__ import annotations

import keras

from unmask.rivals import deepfill2, edgeconnect, pluralistic


class Networks(keras.Model):
    """Two networks in one file of weights.

    Args:
        first: The one that is used first.
        second: The other one.
    """

    def __init__(self, first: keras.Model, second: keras.Model) -> None:
        super().__init__(name="networks")
        self.first, self.second = first, second
        self.built = True


def build_networks(system: str, width: int, depth: int) -> keras.Model:
    """Build what is kept of a system.

    Args:
        system: "deepfill2", "pluralistic", "edgeconnect", or "edgeconnect-edges", which is the
            same.
        width: Channels of the first layer.
        depth: Number of EdgeConnect's residual blocks.

    Returns:
        The generator; of Pluralistic encoder and generator, of EdgeConnect the network that draws
        edges and the one that paints.

    Example:
        >>> build_networks("edgeconnect", 8, 1).first.name
        'edgeconnect_edge'
    """
    if system == "deepfill2":
        return deepfill2.build_generator(width)
    if system == "pluralistic":
        return Networks(pluralistic.build_encoder(width), pluralistic.build_generator(width))
    # Both have layers of the same names.
    with keras.name_scope("edges"):
        edges = edgeconnect.build_edge_generator(width, depth)
    return Networks(edges, edgeconnect.build_inpaint_generator(width, depth))
