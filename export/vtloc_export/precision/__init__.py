"""Which parts run in which precision, and checks that they do."""
