"""Write arrays and heatmaps as JSON, as `docs/reference/report-data.md` describes."""

from __future__ import annotations

from saeviz.formats.packed import fewest_bytes, packed, packed_map

__all__ = ["fewest_bytes", "packed", "packed_map"]
