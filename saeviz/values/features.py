"""Features, feature spaces, and batches of activations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import total_ordering
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, get_args

from saeviz.values.checks import kind_of
from saeviz.values.errors import DataError, MalformedError

if TYPE_CHECKING:
    from saeviz.typing import CSR, Float32Array, FloatArray, IntArray


Tokens = Literal["cls", "patch-max", "patch-mean"]
TOKENS: tuple[Tokens, ...] = get_args(Tokens)
"""Where a plain vision transformer is read; other extractors declare others."""
Layer = int | str
"""The number of a block, or the name of a stage where a model has no numbered blocks."""
_LARGEST = 2**31 - 1
"""Largest layer and number of features; fits the integers of every store."""
_NAME = r"[a-z][a-z0-9-]{0,63}"
_SPACE = rf"(?:({_NAME})\.)?(?:layer([0-9]{{1,10}})|({_NAME}))\.({_NAME})"


@total_ordering
@dataclass(frozen=True)
class FeatureSpace:
    """The features of one SAE: that of `layer`, read at `tokens`.

    `cls` is the class token; `patch-max` and `patch-mean` pool each feature over the patch tokens after the SAE; an
    extractor may declare any other kind, such as `eot`. `layer` is a number, or the name of a stage. `sae` tells
    several SAEs of one layer apart, and the extractors of a run with several; it is empty where there is only one.
    Written `layer11.cls`, or with a name `text.layer11.eot`. Names have lower-case letters, digits and hyphens.
    Spaces sort by `sae`, then numbered layers before named ones.
    """

    layer: Layer
    tokens: str
    n_features: int
    sae: str = ""

    def __post_init__(self) -> None:
        _check_place(self.sae, self.layer, self.tokens)
        if not _is_whole(self.n_features) or not 1 <= self.n_features <= _LARGEST:
            raise MalformedError(f"feature space {self}: a space cannot have {self.n_features} features")

    def __str__(self) -> str:
        return _written(self.sae, self.layer, self.tokens)

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, FeatureSpace):
            return NotImplemented
        return _order(self, self.n_features) < _order(other, other.n_features)

    @classmethod
    def parse(cls, text: str, n_features: int) -> FeatureSpace:
        """Parse a space such as `layer11.cls`. Raises `DataError` for other text."""
        match = re.fullmatch(_SPACE, text)
        if match is None:
            raise DataError(f"{text!r} is not a feature space; an example is 'layer11.cls'")
        return cls(_layer_in(match), match[4], n_features, match[1] or "")

    def __contains__(self, feature: object) -> bool:
        return (
            isinstance(feature, Feature)
            and (feature.sae, feature.layer, feature.tokens) == (self.sae, self.layer, self.tokens)
            and 0 <= feature.index < self.n_features
        )

    def feature(self, index: int) -> Feature:
        """The feature with this index in the space."""
        return Feature(self.layer, self.tokens, index, self.sae)

    @property
    def site(self) -> Layer:
        """What `HeatmapExtractor` and `SingleImageExtractor` take as `layer`: the layer, `mlp.layer11` with a name."""
        return _site(self.sae, self.layer)

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


@total_ordering
@dataclass(frozen=True)
class Feature:
    """One SAE feature of a run, written `layer11.cls/4711`; `layer`, `tokens` and `sae` as in `FeatureSpace`."""

    layer: Layer
    tokens: str
    index: int
    sae: str = ""

    def __str__(self) -> str:
        return f"{self.space_name}/{self.index}"

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Feature):
            return NotImplemented
        return _order(self, self.index) < _order(other, other.index)

    @classmethod
    def parse(cls, text: str) -> Feature:
        """Parse a feature such as `layer11.cls/4711`. Raises `DataError` for other text."""
        match = re.fullmatch(_SPACE + r"/([0-9]{1,10})", text)
        if match is None:
            raise DataError(f"{text!r} is not a feature; an example is 'layer11.cls/4711'")
        return cls(_layer_in(match), match[4], int(match[5]), match[1] or "")

    @property
    def space_name(self) -> str:
        """Its space as it is written, for instance `layer11.cls`."""
        return _written(self.sae, self.layer, self.tokens)

    @property
    def site(self) -> Layer:
        """As `FeatureSpace.site`."""
        return _site(self.sae, self.layer)


def layer_of(value: Any) -> Layer:
    """A layer as a table or a file has it: a whole number, also one written as text, or the name of a stage."""
    return value if isinstance(value, str) and not value.isdecimal() else int(value)


def _layer_in(match: re.Match[str]) -> Layer:
    return match[3] if match[2] is None else int(match[2])


def _written(sae: str, layer: Layer, tokens: str) -> str:
    name = layer if isinstance(layer, str) else f"layer{layer}"
    return f"{sae}.{name}.{tokens}" if sae else f"{name}.{tokens}"


def _site(sae: str, layer: Layer) -> Layer:
    if not sae:
        return layer
    return f"{sae}.{layer}" if isinstance(layer, str) else f"{sae}.layer{layer}"


def _order(one: FeatureSpace | Feature, number: int) -> tuple[str, bool, Any, str, int]:
    return one.sae, isinstance(one.layer, str), one.layer, one.tokens, number


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _check_place(sae: str, layer: Layer, tokens: str) -> None:
    for what, name in (("sae", sae), ("tokens", tokens), ("layer", layer)):
        is_unnamed = (what == "sae" and name == "") or (what == "layer" and _is_whole(name))
        if not is_unnamed and not (isinstance(name, str) and re.fullmatch(_NAME, name)):
            raise MalformedError(
                f"{what} {name!r} of a feature space is not a name: up to 64 lower-case letters, digits and hyphens, "
                "with a letter first"
            )
    if isinstance(layer, str) and re.fullmatch(r"layer[0-9]*", layer):
        raise MalformedError(f"a stage cannot be called {layer!r}; give the number of the layer instead")
    if not isinstance(layer, str) and not 0 <= layer <= _LARGEST:
        raise MalformedError(f"no such feature space: layer {layer}")


def names_numbers_of_images(name: object) -> bool:
    """Whether numbers in `FeatureBatch.of_images` can have this name; `l0` is what the core counts itself."""
    return isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) is not None and name != "l0"


def check_id(item_id: str) -> None:
    """Raise `MalformedError` for an invalid item id; valid is any non-empty text that can be encoded as UTF-8."""
    if not isinstance(item_id, str):
        raise MalformedError(f"the item id {item_id!r} is not text")
    if not item_id:
        raise MalformedError("an item id must not be empty")
    try:
        item_id.encode()
    except UnicodeEncodeError as error:
        raise MalformedError(f"the item id {item_id!r} contains a lone surrogate, which is not valid text") from error


@dataclass(frozen=True)
class FeatureBatch:
    """Sparse activations of the features of one space on some images.

    `matrix` is a SciPy `csr_array`, float32 `[len(item_ids), space.n_features]`, with sorted indices and without stored
    zeros; row i belongs to `item_ids[i]`. Another dtype, unsorted indices or stored zeros are converted. Raises
    `DataError` if the shape or an index does not fit, ids are invalid or not unique, or a value is not finite.

    An extractor may add numbers of each image in `of_images`, such as `reconstruction_error`: floats `[len(item_ids)]`
    by name, NaN where there is none. They become columns `NAME.SPACE` of `images.parquet`; stores do not keep them.
    """

    space: FeatureSpace
    item_ids: tuple[str, ...]
    matrix: CSR
    of_images: Mapping[str, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import numpy as np
        from scipy.sparse import csr_array, issparse

        if not isinstance(self.space, FeatureSpace):
            raise MalformedError(f"the space of a batch is {kind_of(self.space)}, not a FeatureSpace")
        if isinstance(self.item_ids, str) or not isinstance(self.item_ids, Iterable):
            raise MalformedError(f"{self.space}: the item ids of a batch are {kind_of(self.item_ids)}, not a tuple")
        object.__setattr__(self, "item_ids", tuple(self.item_ids))  # a slice of `Texts`, for example
        if not issparse(self.matrix):
            raise MalformedError(
                f"{self.space}: the matrix of a batch is {kind_of(self.matrix)}, not a sparse one; "
                "scipy.sparse.csr_array(matrix) makes it one"
            )
        matrix: CSR = csr_array(self.matrix, dtype=np.float32)
        expected = (len(self.item_ids), self.space.n_features)
        if matrix.shape != expected:
            raise MalformedError(f"{self.space}: a batch has the shape {matrix.shape}, not {expected}")
        try:
            matrix.check_format(full_check=True)  # SciPy computes with places outside the matrix as if they were inside
        except ValueError as error:
            raise MalformedError(f"{self.space}: a batch has a matrix that is not valid: {error}") from error
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
        self._check_numbers_of_images()

    def _check_numbers_of_images(self) -> None:
        import numpy as np

        if not isinstance(self.of_images, Mapping):
            raise MalformedError(f"{self.space}: numbers of images are {kind_of(self.of_images)}, not a mapping")
        for name, values in self.of_images.items():
            found = np.asarray(values)
            if not names_numbers_of_images(name):
                raise MalformedError(
                    f"{self.space}: numbers of images cannot be called {name!r}: lower-case letters, digits and _, "
                    "with a letter first, and not l0, which the core counts"
                )
            if found.shape != (len(self),) or found.dtype.kind not in "biuf" or np.isinf(found).any():
                raise MalformedError(
                    f"{self.space}: {name!r} has {found.dtype}{list(found.shape)}, where a batch of {len(self)} images "
                    "needs a finite number for each, or NaN"
                )

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

    layer: Layer
    features: Float32Array
    grid: tuple[int, int]

    def heatmap(self, feature: int) -> Float32Array:
        """The activation of the feature with index `feature` on each patch: float32 `[rows, cols]`."""
        return self.features[:, feature].reshape(self.grid)
