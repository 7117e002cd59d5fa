"""Decoding on NVIDIA's video engine."""
