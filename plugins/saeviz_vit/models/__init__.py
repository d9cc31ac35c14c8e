"""Vision models: what an extractor needs from one, and the supported ones."""
