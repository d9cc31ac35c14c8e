"""Serialise features, pictures and embeddings for HTTP; see `docs/reference/http.md` for the formats."""

from __future__ import annotations

from saeviz.formats.wire import (
    EMBEDDINGS,
    NPZ,
    pack_arrays,
    pack_features,
    pack_pictures,
    pack_text,
    unpack_arrays,
    unpack_features,
    unpack_pictures,
    unpack_text,
)

__all__ = [
    "EMBEDDINGS",
    "NPZ",
    "pack_arrays",
    "pack_features",
    "pack_pictures",
    "pack_text",
    "unpack_arrays",
    "unpack_features",
    "unpack_pictures",
    "unpack_text",
]
