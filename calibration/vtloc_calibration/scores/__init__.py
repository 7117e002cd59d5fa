"""From raw scores to probabilities, measured on labelled videos."""
