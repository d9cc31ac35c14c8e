"""Every byte that the core writes or sends."""
