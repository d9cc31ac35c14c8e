"""Any picture as 8-bit RGB, the way an eye would see it."""

from __future__ import annotations

from saeviz.pictures import to_rgb

__all__ = ["to_rgb"]
