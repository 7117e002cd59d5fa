"""One contract for every network, and the backends behind it."""
