"""Trains the demo's models from nothing: see README.md in this folder."""
