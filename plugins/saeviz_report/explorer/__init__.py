"""The reporter `html`: a viewer in a folder, and the run as data files beside it, both opened from disk."""
