"""From frames and a sentence to moments."""
