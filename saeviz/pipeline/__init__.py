"""One run: its stages, their order and what they share."""
