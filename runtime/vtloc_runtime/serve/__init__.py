"""A service that finds moments: over HTTP, and as tools for agents."""
