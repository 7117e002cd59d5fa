"""Decoders: packets to pictures, on the processor or on an NVIDIA GPU."""
