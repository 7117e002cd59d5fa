"""Container details that FFmpeg does not report."""
