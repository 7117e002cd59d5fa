"""From a PyTorch module to a clean ONNX graph."""
