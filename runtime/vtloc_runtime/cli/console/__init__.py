"""The terminal: what is shown, read and caught there."""
