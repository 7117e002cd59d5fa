"""A bundle on disk: its manifest, its files, its engines, and what refuses them."""
