"""Vision models: what an extractor needs of one, and those that are known."""
