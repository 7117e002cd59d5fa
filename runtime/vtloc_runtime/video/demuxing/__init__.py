"""A file to packets: its source, its streams and its timestamps."""
