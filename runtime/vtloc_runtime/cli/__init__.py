"""The commands of ``vtloc-run``, one module each, loaded when they are asked for."""
