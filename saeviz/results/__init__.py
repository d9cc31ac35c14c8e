"""A finished run, opened for reading."""
