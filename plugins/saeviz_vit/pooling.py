"""From activations to features per image, and from dense to sparse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from saeviz import Tokens

if TYPE_CHECKING:
    from torch import Tensor

    from saeviz_vit.extractor import Activations
    from saeviz_vit.sae import SAE

CHUNK_VALUES = 2**24
"""Patch features held at once, at least those of one image: 64 MiB."""


def pool(sae: SAE, activations: Activations, layer: int, tokens: Sequence[Tokens]) -> dict[Tokens, Tensor]:
    """Dense features `[n, d_sae]` for each of `tokens`, in their order."""
    found: dict[Tokens, Tensor] = {}
    if "cls" in tokens:
        found["cls"] = sae.encode(activations.cls(layer))
    if set(tokens) != {"cls"}:
        found.update(_pool_patches(sae, activations.patches(layer), tokens))
    return {kind: found[kind] for kind in tokens}


def _pool_patches(sae: SAE, patches: Tensor, tokens: Sequence[Tokens]) -> dict[Tokens, Tensor]:
    import torch

    pools = {"patch-max": lambda features: features.amax(1), "patch-mean": lambda features: features.mean(1)}
    per_chunk = max(1, CHUNK_VALUES // (patches.shape[1] * sae.config.d_sae))
    pooled: dict[Tokens, list[Tensor]] = {kind: [] for kind in tokens if kind in pools}
    for start in range(0, len(patches), per_chunk):
        chunk = patches[start : start + per_chunk]
        features = sae.encode(chunk.flatten(0, 1)).view(*chunk.shape[:2], -1)
        for kind, parts in pooled.items():
            parts.append(pools[kind](features))
    return {kind: torch.cat(parts) for kind, parts in pooled.items()}


def to_csr(features: Tensor) -> Any:
    """A SciPy `csr_array` float32 of dense features."""
    import numpy as np
    from scipy.sparse import csr_array

    rows, columns = features.nonzero(as_tuple=True)
    values = features[rows, columns].cpu().numpy()
    starts = np.zeros(features.shape[0] + 1, dtype=np.int64)
    np.cumsum(features.count_nonzero(dim=1).cpu().numpy(), out=starts[1:])
    return csr_array((values, columns.cpu().numpy().astype(np.int32), starts), shape=tuple(features.shape))
