"""The commands of ``vtloc``, a file each; heavy imports happen inside them."""
