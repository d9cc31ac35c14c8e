"""The request to a labeler, its answer, and its cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from saeviz.values.features import Feature
from saeviz.values.images import ImageItem
from saeviz.values.scores import Relation


class TopImage(NamedTuple):
    """An image and the activation of a feature on it."""

    item: ImageItem
    activation: float


@dataclass(frozen=True)
class LabelRequest:
    """What a labeler is given to name one feature.

    `top` are its most activating images, strongest first; `contrast` some images on which it does not fire; `relations`
    its correlations with ratings, strongest first; `scores` its row of the score table (NaN if not scored); `dataset`
    all images of the run, without those on which labels are to predict ratings, the same object in all requests.
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

    `label` is 1 to 5 words, '' if the labeler found no name; `confidence` is in [0, 1], or None if the labeler does not
    estimate it. `details` can be written as JSON and is specific to the labeler, except `details["top_images"]`: the
    number of top images, from the first, that the label is based on; if it is absent, all of them.
    """

    label: str
    description: str = ""
    elements: tuple[str, ...] = ()
    why: str = ""
    confidence: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)


class Usage(NamedTuple):
    """The usage of a paid service: requests, images in them, and input and output tokens."""

    calls: int = 0
    images: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
