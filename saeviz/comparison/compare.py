"""Compare two runs: relations where the SAEs are the same, features where the images are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from saeviz.comparison.partners import FEWEST_IMAGES, compare_features
from saeviz.comparison.result import Comparison
from saeviz.comparison.shared import same_saes, shared_images, shared_spaces
from saeviz.comparison.transfer import compare_relations
from saeviz.results.run import Run
from saeviz.values.errors import ConfigError
from saeviz.values.features import FeatureSpace


def compare(one: Run, other: Run, kind: Literal["relations", "features"] | None = None) -> Comparison:
    """Compare two runs. Raises `ConfigError` if they share neither SAEs nor images.

    By default, `relations` if the SAEs are the same, else `features`. Tables of `relations`: `ratings` (the summary),
    `predictions` (how well the significant features of the first run predict the ratings of the second) and
    `relations` (a row per feature and rating tested in both). Tables of `features`: `spaces` (the summary),
    `partners_a` and `partners_b`.
    """
    spaces, same = shared_spaces(one, other), same_saes(one, other)
    images, differing = shared_images(one, other)
    if kind is None:
        kind = _kind(one, other, has_saes=bool(spaces) and same is not False, n_images=len(images))
    if kind == "features":
        return compare_features(one, other, images, differing)
    if not spaces:
        raise ConfigError(
            f"{one.dir} and {other.dir} have no space in common ({_names(one.spaces)}; {_names(other.spaces)}); "
            "relations can only be compared between runs of the same SAEs"
        )
    return compare_relations(one, other, spaces, same, len(images))


def _kind(one: Run, other: Run, *, has_saes: bool, n_images: int) -> Literal["relations", "features"]:
    if has_saes:
        return "relations"
    if n_images >= FEWEST_IMAGES:
        return "features"
    raise ConfigError(
        f"{one.dir} and {other.dir} cannot be compared: their SAEs differ (spaces {_names(one.spaces)}; "
        f"{_names(other.spaces)}) and they have {n_images} images in common, fewer than {FEWEST_IMAGES}; compare runs "
        "with the same extractor, or on the same images"
    )


def _names(spaces: Sequence[FeatureSpace]) -> str:
    return ", ".join(map(str, spaces)) or "none"
