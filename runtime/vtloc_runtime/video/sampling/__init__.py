"""Which packets are decoded for the frames that are asked for."""
