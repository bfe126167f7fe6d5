"""Mask R-CNN with the public names and the behaviour of matterport's, on Keras 3.

`config`, `utils`, `model` and `visualize` hold the names that programs written for matterport's
`mrcnn` package import; `docs/mrcnn.md` says line by line what differs. The other modules are what
these four are made of.
"""
