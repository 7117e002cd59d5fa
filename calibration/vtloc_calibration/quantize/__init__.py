"""INT8 quantization: ranges, Q/DQ graphs, sensitivity of modules, speed."""
