"""unmask."""
