"""What `saeviz plugins` prints of both extractors: the SAEs that are known by name."""

from __future__ import annotations

from collections.abc import Iterator

from saeviz.toolkit.sae import table_of


def clip_notes() -> Iterator[str]:
    """The table of known SAEs of CLIP ViT-B/32, a line each."""
    return table_of("clip-b32-prisma")


def vit_notes() -> Iterator[str]:
    """The table of known SAEs of DINO ViT-B/16 (`model = "facebook/dino-vitb16"`), a line each."""
    yield 'SAEs of DINO ViT-B/16, model = "facebook/dino-vitb16":'
    yield from table_of("vit-sae")
