"""A run in the browser: its viewer, and the JSON that the viewer and notebooks ask for."""
