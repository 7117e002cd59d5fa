"""Strategies that decide which packets to decode for the requested frames."""
