"""Arrays that are mapped from files, such as the embeddings that a scorer gets in a large run."""

from __future__ import annotations

from saeviz.formats.mapped import release

__all__ = ["release"]
