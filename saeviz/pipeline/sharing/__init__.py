"""Share results between runs: look them up before a model runs, and add new ones to the cache."""
