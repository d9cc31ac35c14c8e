"""What plugins share so that none of them writes it again; the core itself uses nothing of it."""
