"""The run file: where settings come from, their schema, and the checked configuration."""
