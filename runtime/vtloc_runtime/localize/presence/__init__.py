"""Whether a video shows what a question asks for."""
