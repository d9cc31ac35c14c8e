"""The values that travel between components: plain, immutable, checked where they are made."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast, get_args, runtime_checkable

from saeviz.errors import DataError, ImageError, MalformedError
from saeviz.pictures import drawn, open_picture

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from PIL.Image import Image

    from saeviz.typing import CSR, Float32Array

Tokens = Literal["cls", "patch-max", "patch-mean"]
TOKENS: tuple[Tokens, ...] = get_args(Tokens)
_LARGEST = 2**31 - 1
"""Layer and number of features: what fits every store's numbers."""


@dataclass(frozen=True, order=True)
class FeatureSpace:
    """Which features these are: the SAE of one `layer`, read at `tokens`.

    `cls` is the class token; `patch-max` and `patch-mean` pool each feature over the patch tokens
    after the SAE. Written `layer11.cls`.
    """

    layer: int
    tokens: Tokens
    n_features: int

    def __post_init__(self) -> None:
        if self.tokens not in TOKENS:
            raise MalformedError(f"tokens {self.tokens!r} is none of {', '.join(TOKENS)}")
        if not 0 <= self.layer <= _LARGEST or not 1 <= self.n_features <= _LARGEST:
            raise MalformedError(f"no such feature space: layer {self.layer}, {self.n_features} features")

    def __str__(self) -> str:
        return f"layer{self.layer}.{self.tokens}"

    @classmethod
    def parse(cls, text: str, n_features: int) -> FeatureSpace:
        """The space written as `text`, for instance `layer11.cls`."""
        match = re.fullmatch(r"layer(\d+)\.([a-z-]+)", text)
        if match is None:
            raise DataError(f"{text!r} is not a feature space; write for instance 'layer11.cls'")
        return cls(int(match[1]), cast("Tokens", match[2]), n_features)

    def feature(self, index: int) -> Feature:
        """The feature number `index` of this space."""
        return Feature(self.layer, self.tokens, index)


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
        """The feature written as `text`, for instance `layer11.cls/4711`."""
        match = re.fullmatch(r"layer(\d+)\.([a-z-]+)/(\d+)", text)
        if match is None or match[2] not in TOKENS:
            raise DataError(f"{text!r} is not a feature; write for instance 'layer11.cls/4711'")
        return cls(int(match[1]), cast("Tokens", match[2]), int(match[3]))


def check_id(item_id: str) -> None:
    """Raise `DataError` unless this is an item id: any text that is not empty and can be written as UTF-8."""
    if not item_id:
        raise DataError("an item id must not be empty")
    try:
        item_id.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"the item id {item_id!r} holds half a character (a lone surrogate)") from error


@dataclass(frozen=True)
class FeatureBatch:
    """Sparse features of some images in one space.

    `matrix` is a SciPy `csr_array` float32 `[len(item_ids), space.n_features]`, finite, with sorted indices
    and no stored zeros; row i belongs to `item_ids[i]`. Raises `DataError` otherwise (a float64
    or unsorted matrix is converted).
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
            raise MalformedError(f"{self.space}: a batch of shape {matrix.shape} where {expected} belongs")
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


@runtime_checkable
class HasBytes(Protocol):
    """Optional for the function that is the source of an image: the file that it decodes.

    Runs can then share what they make of the picture. `ImageError` where it cannot be had.
    """

    def read_bytes(self) -> bytes:
        """The whole file."""
        ...


ImageSource = Path | bytes | Callable[[], "Image"]


@dataclass(frozen=True)
class ImageItem:
    """One picture, not yet decoded, and what is known about it.

    `item_id` is any non-empty string and never a path. `source` is a file, its bytes, or a function
    that gives the decoded picture (`HasBytes`). `ratings` has finite numbers only: a missing rating is a missing key.
    `individual` has, where they are known, the single ratings that a rating is the mean of, by rating and rater.
    `version` is any text that changes when what a function draws changes, so that a run extracts it again.
    """

    item_id: str
    source: ImageSource = field(repr=False)
    ratings: Mapping[str, float] = field(default_factory=dict, hash=False)
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    version: str = field(default="", repr=False)
    individual: Mapping[str, Mapping[str, float]] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        check_id(self.item_id)
        for ratings in (self.ratings, *self.individual.values()):
            wrong = [name for name, value in ratings.items() if not math.isfinite(value)]
            if wrong:
                raise MalformedError(f"item {self.item_id!r}: rating {wrong[0]!r} is not a finite number; leave it out")

    def open(self) -> Image:
        """The decoded picture, upright (EXIF orientation applied), in its own mode.

        An animation gives its first frame. Raises `ImageError` when it cannot be read, whatever its function raises.
        """
        try:
            return drawn(self.source) if callable(self.source) else open_picture(self.source)
        except ImageError as error:
            if repr(self.item_id) in str(error):
                raise
            place = f" ({self.source})" if isinstance(self.source, Path) else ""
            raise ImageError(f"image {self.item_id!r}{place} cannot be read: {error}") from error

    @property
    def fingerprint(self) -> str:
        """Text that changes when the picture changes: size and time of a file, a digest of bytes, else `version`."""
        if isinstance(self.source, bytes):
            from hashlib import sha256

            return sha256(self.source).hexdigest()[:16]
        if isinstance(self.source, Path):
            try:
                stat = self.source.stat()
            except OSError:
                return "missing"
            return f"{stat.st_size}-{stat.st_mtime_ns}"
        return self.version


@dataclass(frozen=True)
class SAEFeatureResult:
    """SAE features of one image at one token.

    `features` is dense float32 `[n_features]`; `top_indices` and `top_values` hold the strongest
    active ones, strongest first; `reconstruct()` gives the SAE's estimate of the activation `[d_in]`.
    """

    space: FeatureSpace
    features: Float32Array
    num_active: int
    top_indices: NDArray[np.int64]
    top_values: Float32Array
    reconstruct: Callable[[], Float32Array] = field(repr=False)


@dataclass(frozen=True)
class SpatialFeatures:
    """SAE features of every patch of one image: float32 `[patches, n_features]`, row-major over `grid`."""

    layer: int
    features: Float32Array
    grid: tuple[int, int]

    def heatmap(self, feature: int) -> Float32Array:
        """Where `feature` fires: float32 `[rows, cols]`."""
        return self.features[:, feature].reshape(self.grid)


@dataclass(frozen=True)
class ScoreColumn:
    """One score of every feature of a space.

    `values` is `[n_features]`: floats (NaN = not scored) or text ('' = none). With `target`, the name
    of a rating, it is a column of `correlations.parquet`, without it of `scores.parquet`. They are copied.
    """

    name: str
    space: FeatureSpace
    values: NDArray[Any]
    target: str | None = None

    def __post_init__(self) -> None:
        import numpy as np

        values = np.array(self.values)  # a copy: the next space may be computed in the same place
        if values.shape != (self.space.n_features,):
            raise MalformedError(
                f"score {self.name!r} of {self.space}: shape {values.shape} where ({self.space.n_features},) belongs"
            )
        if values.dtype.kind not in "biufU":
            raise MalformedError(f"score {self.name!r} of {self.space}: {values.dtype} is neither numbers nor text")
        values.flags.writeable = False
        object.__setattr__(self, "values", values)


@dataclass(frozen=True)
class ScoreFact:
    """A figure about the whole run, for the manifest and the report: a number, text or list of them."""

    name: str
    value: Any


@dataclass(frozen=True)
class ScoreTable:
    """All scores of a run.

    `scores` has a row per (layer, tokens, feature); `correlations` a row per (layer, tokens, feature,
    rating). Both are DataFrames with these keys as plain columns. `facts` are the figures about the whole run that
    scorers left, by name.
    """

    scores: pd.DataFrame
    correlations: pd.DataFrame
    spaces: tuple[FeatureSpace, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Selected:
    """A feature that matters: its tier (1 is best) and in a few words why.

    `rating` names the rating whose correlation speaks for it, None where none does or the selector does not say.
    """

    feature: Feature
    tier: int
    reason: str
    rating: str | None = None


class TopImage(NamedTuple):
    """An image and how strongly a feature fires on it."""

    item: ImageItem
    activation: float


class Relation(NamedTuple):
    """How a feature relates to a rating: signed r, its p, the adjusted q, over n images. NaN = no value.

    `measure` is what kind of correlation r is, in words such as "Spearman's rho".
    """

    rating: str
    r: float
    p: float
    q: float
    n: int
    measure: str = "Pearson's r"


@dataclass(frozen=True)
class LabelRequest:
    """What a labeler gets to see of one feature.

    `top` are its most activating images, strongest first; `contrast` some on which it is silent;
    `relations` strongest first; `scores` its row of the score table (NaN where not scored);
    `dataset` every image of the run, the same object in all requests of a run.
    """

    feature: Feature
    tier: int
    top: Sequence[TopImage]
    contrast: Sequence[ImageItem]
    scores: Mapping[str, float]
    relations: Sequence[Relation]
    dataset: Sequence[ImageItem]


@dataclass(frozen=True)
class FeatureLabel:
    """A feature's name.

    `label` is 1 to 5 words, '' when the labeler found nothing to say; `confidence` is in [0, 1] or
    None when the labeler has no measure of it; `details` is JSON-able and specific to the labeler, except that
    `details["top_images"]` says how many of the top images, the first ones, it was made from: where it is absent, all.
    """

    label: str
    description: str = ""
    elements: tuple[str, ...] = ()
    why: str = ""
    confidence: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)


class Usage(NamedTuple):
    """What naming features takes of a service that is paid for: requests, images in them, tokens in and out."""

    calls: int = 0
    images: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class Figure(NamedTuple):
    """Something measured, beside what is published about it (None = nothing); NaN = cannot be measured here."""

    name: str
    measured: float
    published: float | None = None


@dataclass(frozen=True)
class Health:
    """How well a part of a component does on a few images: a layer's SAE, for instance.

    `warnings` are sentences about figures that are far off; without any it is what it should be.
    """

    subject: str
    figures: tuple[Figure, ...]
    warnings: tuple[str, ...] = ()


class Failure(NamedTuple):
    """Something that was left out: a line of `failures.jsonl`. `subject` is an item id or a feature."""

    stage: str
    subject: str
    error: str
