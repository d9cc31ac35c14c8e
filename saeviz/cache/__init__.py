"""The cache that runs share on disk."""
