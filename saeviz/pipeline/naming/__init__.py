"""Requests to labelers and judges: what they are asked about which feature."""
