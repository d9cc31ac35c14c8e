"""From activations to features per image, and from dense to sparse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from saeviz.toolkit.engine import Runner
    from saeviz.toolkit.sae import SAE
    from saeviz.toolkit.sae.options import HookPoint
    from saeviz.toolkit.tokens.model import Activations
    from saeviz.typing import FloatArray

    MakeRunner = Callable[[Callable[[Tensor], Sequence[Tensor]]], Runner]

CACHED_TOKENS, CACHED_FEATURES = 400, 1024
"""Tokens (at least those of one image) and features that a CPU thread pools at a time, to fit in its cache."""
CHUNK_VALUES = 2**24
"""Values held at once on other devices and for top-k SAEs: 64 MiB."""
VECTORS = frozenset({"cls", "image"})
"""Tokens of which there is one per image, so that nothing is pooled."""
POOLS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "patch-max": lambda features: features.amax(1),
    "patch-mean": lambda features: features.mean(1),
}


class Pooler:
    """Features of images from one SAE, for each of `tokens`.

    With `decodes`, `unexplained` is, after a call, the fraction of variance unexplained of the patches of each image.
    """

    def __init__(self, sae: SAE, tokens: Sequence[str], make_runner: MakeRunner, *, decodes: bool = False) -> None:
        self._sae = sae
        self._tokens = tokens
        self.unexplained: FloatArray | None = None
        self._pools = [kind for kind in tokens if kind in POOLS]
        self._cls = make_runner(lambda x: [sae.encode(x)])
        self._decodes = decodes
        self._patches = make_runner(partial(pool_patches, sae, self._pools, decodes=decodes))

    def __call__(self, activations: Activations, point: HookPoint) -> dict[str, Tensor]:
        """Dense float32 `[n, d_sae]` for each kind of token, in the order of `tokens`."""
        import torch

        found: dict[str, Tensor] = {}
        for kind in VECTORS.intersection(self._tokens):
            (found[kind],) = self._cls(activations.cls(point).float())
        if self._pools:
            patches = activations.patches(point).float()
            chunks = [self._patches(chunk) for chunk in torch.split(patches, _images_at_once(self._sae, patches))]
            pooled = list(map(torch.cat, zip(*chunks, strict=True)))
            if self._decodes:
                self.unexplained = self._sae.unexplained_of(pooled.pop(), patches)
            found.update(zip(self._pools, pooled, strict=True))
        return {kind: found[kind] for kind in self._tokens}


def pool_patches(sae: SAE, kinds: Sequence[str], patches: Tensor, *, decodes: bool = False) -> list[Tensor]:
    """Pooled features, float32 `[n, d_sae]`, for each of `kinds`; the patch tokens are `[n, patches, d_in]`.

    With `decodes` also what the features of each patch decode to, `[n, patches, d_in]`, as `SAE.decode_part` says.
    """
    import torch

    if sae.config.k is not None:
        features = sae.encode(patches)
        decoded = [sae.decode_part(features, slice(None))] if decodes else []
        return [*(POOLS[kind](features) for kind in kinds), *decoded]
    x, d_sae = sae.normalize(patches), sae.config.d_sae
    step = CACHED_FEATURES if patches.device.type == "cpu" else d_sae
    parts: dict[str, list[Tensor]] = {kind: [] for kind in kinds}
    total = torch.zeros_like(x)
    for start in range(0, d_sae, step):
        columns = slice(start, start + step)
        features = sae.encode_normal(x, columns)
        for kind, pooled in parts.items():
            pooled.append(POOLS[kind](features))
        if decodes:
            total = total + sae.decode_part(features, columns)
    return [*(torch.cat(pooled, dim=-1) for pooled in parts.values()), *([total] if decodes else [])]


def _images_at_once(sae: SAE, patches: Tensor) -> int:
    import torch

    n_patches = patches.shape[1]
    if patches.device.type == "cpu" and sae.config.k is None:
        return max(1, CACHED_TOKENS * torch.get_num_threads() // n_patches)
    return max(1, CHUNK_VALUES // (n_patches * sae.config.d_sae))


def to_csr(features: Tensor) -> Any:
    """Dense features as a SciPy `csr_array` of float32."""
    import numpy as np
    from scipy.sparse import csr_array

    n, width = features.shape
    if features.device.type == "cpu":
        dense = features.numpy().reshape(-1)
        # A comparison makes bytes, in which NumPy finds what is set several times faster than in floats.
        flat = np.flatnonzero(dense != 0)
        values = dense[flat]
    else:
        found = features.flatten().nonzero().squeeze(1)
        flat, values = found.cpu().numpy(), features.flatten()[found].cpu().numpy()
    starts = np.searchsorted(flat, np.arange(n + 1) * width)
    return csr_array((values, (flat % width).astype(np.int32), starts), shape=(n, width))
