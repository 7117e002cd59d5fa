"""What stands behind the commands of ``vtloc``, loaded when one is asked for."""
