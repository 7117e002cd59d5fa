"""Videos to features: encoded frame by frame, and kept."""
