"""Where packets are decoded: the processor, or NVIDIA's decoder."""
