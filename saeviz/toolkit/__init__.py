"""Building blocks shared by plugins; the core itself does not use them."""
