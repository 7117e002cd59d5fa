"""The commands of ``vtloc-export``."""
