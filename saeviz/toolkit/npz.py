"""`.npz` files of arrays, read safely: without pickles, and from several threads at once."""

from __future__ import annotations

from saeviz.formats.npz import read_npz

__all__ = ["read_npz"]
