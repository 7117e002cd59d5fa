"""INT8: which layers, with which scales, at what cost."""
