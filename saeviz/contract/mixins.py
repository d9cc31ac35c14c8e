"""Mix-ins that add calls for a single item to a store or an embedding provider, on top of the batched ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from saeviz.values.features import FeatureBatch, FeatureSpace, Layer
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from saeviz.contract.context import Context
    from saeviz.contract.stores import FeatureStore
    from saeviz.typing import Float32Array


class OneItemStore:
    """Adds `save_features` and `load_features` to a feature store."""

    def save_features(
        self: FeatureStore, item_id: str, features: ArrayLike, layer: Layer, tokens: str = "cls", sae: str = ""
    ) -> None:
        """Store the dense features `[n_features]` of one item."""
        import numpy as np
        from scipy.sparse import csr_array

        row = np.asarray(features, dtype=np.float32).reshape(1, -1)
        self.write(FeatureBatch(FeatureSpace(layer, tokens, row.shape[1], sae), (item_id,), csr_array(row)))

    def load_features(
        self: FeatureStore, item_id: str, layer: Layer, tokens: str = "cls", sae: str = ""
    ) -> Float32Array | None:
        """Dense float32 `[n_features]`, or None if the store does not have the item."""
        import numpy as np

        for space in self.spaces():
            if (space.sae, space.layer, space.tokens) == (sae, layer, tokens) and item_id in self.item_ids(space):
                batch = next(self.read(space, [item_id]))
                return np.asarray(batch.matrix.toarray()[0], dtype=np.float32)
        return None


class _Embedder(Protocol):
    context: Context

    def embed(self, items: Sequence[ImageItem]) -> Float32Array: ...


class OneItemEmbeddings:
    """Adds `get_embedding` to an embedding provider that has its context as `self.context`."""

    def get_embedding(self: _Embedder, item: ImageItem | str) -> Float32Array | None:
        """Float32 `[dim]`, or None if there is no such image or it cannot be read.

        An item id is looked up among the images of the run that the provider is part of.
        """
        import numpy as np

        found = self.context.peer("images").get_image(item) if isinstance(item, str) else item
        if found is None:
            return None
        row = self.embed([found])[0]
        return row if np.isfinite(row).all() else None
