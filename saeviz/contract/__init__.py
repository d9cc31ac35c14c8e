"""What a component is: its role, its options, its spec and its context."""
