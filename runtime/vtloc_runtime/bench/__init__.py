"""Measuring how fast a bundle answers."""
