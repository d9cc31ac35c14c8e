"""What other runs have computed is looked up before a model runs, and kept after."""
