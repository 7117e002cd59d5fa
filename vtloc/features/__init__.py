"""Features of videos and sentences: extracting, storing and opening them."""
