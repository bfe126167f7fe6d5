"""Masks drawn from scratch, one module a kind."""

from unmask.synthesis.drawing.bank import ALL_KINDS, SHARES, draw_template

__all__ = ["ALL_KINDS", "SHARES", "draw_template"]
