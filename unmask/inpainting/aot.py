"""AOT-GAN's networks as a pair to train; they live in `unmask.rivals.aot`."""

from unmask.rivals.aot import AOT, build_aot_discriminator, build_aot_generator

__all__ = ["AOT", "build_aot_discriminator", "build_aot_generator"]
