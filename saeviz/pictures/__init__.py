"""Any picture as RGB, and a heatmap over it."""
