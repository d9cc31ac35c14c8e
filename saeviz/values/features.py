"""Features, feature spaces, and batches of activations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast, get_args

from saeviz.values.errors import DataError, MalformedError

if TYPE_CHECKING:
    from saeviz.typing import CSR, Float32Array, IntArray


Tokens = Literal["cls", "patch-max", "patch-mean"]
TOKENS: tuple[Tokens, ...] = get_args(Tokens)
_LARGEST = 2**31 - 1
"""Largest layer and number of features; fits the integers of every store."""


@dataclass(frozen=True, order=True)
class FeatureSpace:
    """The features of one SAE: that of `layer`, read at `tokens`.

    `cls` is the class token; `patch-max` and `patch-mean` pool each feature over the patch tokens
    after the SAE. Written `layer11.cls`.
    """

    layer: int
    tokens: Tokens
    n_features: int

    def __post_init__(self) -> None:
        if self.tokens not in TOKENS:
            raise MalformedError(f"tokens {self.tokens!r} is not one of {', '.join(TOKENS)}")
        if not 0 <= self.layer <= _LARGEST or not 1 <= self.n_features <= _LARGEST:
            raise MalformedError(f"no such feature space: layer {self.layer}, {self.n_features} features")

    def __str__(self) -> str:
        return f"layer{self.layer}.{self.tokens}"

    @classmethod
    def parse(cls, text: str, n_features: int) -> FeatureSpace:
        """Parse a space such as `layer11.cls`. Raises `DataError` for other text."""
        match = re.fullmatch(r"layer(\d+)\.([a-z-]+)", text)
        if match is None:
            raise DataError(f"{text!r} is not a feature space; an example is 'layer11.cls'")
        return cls(int(match[1]), cast("Tokens", match[2]), n_features)

    def __contains__(self, feature: object) -> bool:
        return (
            isinstance(feature, Feature)
            and (feature.layer, feature.tokens) == (self.layer, self.tokens)
            and 0 <= feature.index < self.n_features
        )

    def feature(self, index: int) -> Feature:
        """The feature with this index in the space."""
        return Feature(self.layer, self.tokens, index)

    def stack(self, matrices: Iterable[CSR]) -> CSR:
        """Stack matrices of this space vertically into one CSR `[n_items, n_features]`.

        A single matrix is returned as it is; none give a float32 matrix without rows.
        """
        import numpy as np
        from scipy.sparse import csr_array, vstack

        parts = list(matrices)
        if not parts:
            return csr_array((0, self.n_features), dtype=np.float32)
        return parts[0] if len(parts) == 1 else csr_array(vstack(parts, format="csr"))


@dataclass(frozen=True, order=True)
class Feature:
    """One SAE feature of a run, written `layer11.cls/4711`."""

    layer: int
    tokens: Tokens
    index: int

    def __str__(self) -> str:
        return f"layer{self.layer}.{self.tokens}/{self.index}"

    @classmethod
    def parse(cls, text: str) -> Feature:
        """Parse a feature such as `layer11.cls/4711`. Raises `DataError` for other text."""
        match = re.fullmatch(r"layer(\d+)\.([a-z-]+)/(\d+)", text)
        if match is None or match[2] not in TOKENS:
            raise DataError(f"{text!r} is not a feature; an example is 'layer11.cls/4711'")
        return cls(int(match[1]), cast("Tokens", match[2]), int(match[3]))


def check_id(item_id: str) -> None:
    """Raise `DataError` for an invalid item id; valid is any non-empty text that can be encoded as UTF-8."""
    if not item_id:
        raise DataError("an item id must not be empty")
    try:
        item_id.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"the item id {item_id!r} contains a lone surrogate, which is not valid text") from error


@dataclass(frozen=True)
class FeatureBatch:
    """Sparse activations of the features of one space on some images.

    `matrix` is a SciPy `csr_array`, float32 `[len(item_ids), space.n_features]`, with sorted indices and without stored
    zeros; row i belongs to `item_ids[i]`. Another dtype, unsorted indices or stored zeros are converted. Raises
    `DataError` if the shape does not fit, ids are invalid or not unique, or a value is not finite.
    """

    space: FeatureSpace
    item_ids: tuple[str, ...]
    matrix: CSR

    def __post_init__(self) -> None:
        import numpy as np
        from scipy.sparse import csr_array

        matrix: CSR = csr_array(self.matrix, dtype=np.float32)
        expected = (len(self.item_ids), self.space.n_features)
        if matrix.shape != expected:
            raise MalformedError(f"{self.space}: a batch has the shape {matrix.shape}, not {expected}")
        if len(set(self.item_ids)) != len(self.item_ids):
            raise MalformedError(f"{self.space}: item ids of a batch must be unique")
        for item_id in self.item_ids:
            check_id(item_id)
        if not np.isfinite(matrix.data).all():
            row = int(np.searchsorted(matrix.indptr, np.flatnonzero(~np.isfinite(matrix.data))[0], "right")) - 1
            raise MalformedError(f"{self.space}: item {self.item_ids[row]!r} has features that are not finite")
        if not matrix.has_canonical_format or not matrix.data.all():
            matrix = matrix.copy()
            matrix.sum_duplicates()
            matrix.eliminate_zeros()
        object.__setattr__(self, "matrix", matrix)

    def __len__(self) -> int:
        return len(self.item_ids)


@dataclass(frozen=True)
class SAEFeatureResult:
    """The SAE features of one image in one space.

    `features` is dense, float32 `[n_features]`; `num_active` of them are above zero; `top_indices` and `top_values` are
    the strongest active ones, strongest first; `reconstruct()` returns the SAE's reconstruction of the activation,
    `[d_in]`.
    """

    space: FeatureSpace
    features: Float32Array
    num_active: int
    top_indices: IntArray
    top_values: Float32Array
    reconstruct: Callable[[], Float32Array] = field(repr=False)


@dataclass(frozen=True)
class SpatialFeatures:
    """The SAE features of every patch of one image: float32 `[n_patches, n_features]`, row-major over `grid`."""

    layer: int
    features: Float32Array
    grid: tuple[int, int]

    def heatmap(self, feature: int) -> Float32Array:
        """The activation of the feature with index `feature` on each patch: float32 `[rows, cols]`."""
        return self.features[:, feature].reshape(self.grid)
