"""Train the demo's models from scratch: see README.md in this folder."""
