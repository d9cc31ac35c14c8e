"""Who is asked what about which feature."""
