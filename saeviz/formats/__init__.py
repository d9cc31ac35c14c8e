"""The file and wire formats of the core."""
