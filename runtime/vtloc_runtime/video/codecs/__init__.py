"""Parsers of coded bits: where decoding can start, and AV1's headers."""
