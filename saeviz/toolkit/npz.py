"""`.npz` files of arrays, read safely: without pickles, and from several threads at once."""

from __future__ import annotations

from saeviz.npz import read_npz

__all__ = ["read_npz"]
