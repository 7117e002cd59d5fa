"""Activations recorded from real videos, for quantization."""
