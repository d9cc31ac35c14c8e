"""What a labeler is asked and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from saeviz.values.features import Feature
from saeviz.values.images import ImageItem
from saeviz.values.scores import Relation


class TopImage(NamedTuple):
    """An image and how strongly a feature fires on it."""

    item: ImageItem
    activation: float


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
