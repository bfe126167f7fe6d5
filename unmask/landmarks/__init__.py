"""Facial landmarks: 98 points by heatmap regression, also where a mask hides them."""
