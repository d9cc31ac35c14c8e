"""Show results in a notebook: as Matplotlib figures fit for a paper, and as HTML."""
