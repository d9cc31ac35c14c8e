"""Which plugins there are, which component a name means, and how a mistake is reported."""
