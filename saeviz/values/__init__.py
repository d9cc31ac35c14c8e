"""The values that travel between components."""
