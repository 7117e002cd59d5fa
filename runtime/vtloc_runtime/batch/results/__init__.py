"""Records of jobs: written, read, and resumed from."""
