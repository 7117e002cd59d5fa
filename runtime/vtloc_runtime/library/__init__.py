"""A library of films: an index over their frames, and search in all of them at once."""
