"""Sparse autoencoders: their forward pass, where they come from, their formats."""
