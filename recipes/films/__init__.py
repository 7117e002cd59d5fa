"""Films composed of photographs, for the demo, tests and benchmarks."""
