"""The commands of ``vtloc-calibrate``."""
