"""Stores as a user names them, and copying between them."""
