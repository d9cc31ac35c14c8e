"""Find stores by the names that users give, and copy between them."""
