"""Convert pictures to RGB, and draw heatmaps over them."""
