"""Networks as TensorRT engines."""
