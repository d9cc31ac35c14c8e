"""A plugin whose import fails."""

raise RuntimeError("this plugin was built for another planet")
