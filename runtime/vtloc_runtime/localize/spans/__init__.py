"""Logits and similarity to spans of frames, and spans to moments."""
