"""Comparing exported networks with PyTorch: tensors, answers, engines."""
