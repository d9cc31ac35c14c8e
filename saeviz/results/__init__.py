"""Reading a finished run."""
