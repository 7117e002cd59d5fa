"""Workers side by side, each with its decoder."""
