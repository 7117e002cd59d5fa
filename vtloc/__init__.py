"""Train a localizer of moments: its network, its data, its measures."""
