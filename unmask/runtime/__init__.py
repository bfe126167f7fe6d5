"""How a network runs: with Keras, or with ONNX Runtime, which needs neither it nor TensorFlow."""
