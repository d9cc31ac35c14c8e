"""What runs share on disk."""
