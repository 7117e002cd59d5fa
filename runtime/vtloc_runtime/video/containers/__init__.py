"""What containers say of themselves and FFmpeg does not report."""
