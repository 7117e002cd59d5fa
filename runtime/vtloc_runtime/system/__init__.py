"""What the machine gives: processors, files, versions, text for people."""
