"""What ``vtloc-run doctor`` finds out."""
