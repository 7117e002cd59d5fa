"""From ONNX files to TensorRT engines."""
