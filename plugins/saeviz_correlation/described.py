"""What the columns of the scorers mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from saeviz import ColumnInfo

_TESTED = (
    ColumnInfo("n", "number of images with a value of the rating", "images"),
    ColumnInfo("n_active", "number of these on which the feature fires", "images"),
    ColumnInfo("r", "{measure} between activation and rating, from -1 to 1"),
    ColumnInfo("p", "two-sided p-value of r", better="lower"),
    ColumnInfo("ci_low", "lower end of the 95 % interval of r"),
    ColumnInfo("ci_high", "upper end of the 95 % interval of r"),
    ColumnInfo("df", "degrees of freedom of p and of the interval, if errors are robust"),
    ColumnInfo("n_groups", "number of groups of images in which the feature fires", "groups"),
)
"""Of the images for finding, and again of those held out."""
_OF_SLOPES = (
    ColumnInfo("r_within", "r after subtracting the means of the groups of images"),
    ColumnInfo("heterogeneity_p", "p-value of the test that r differs between groups of images (Cochran's Q)"),
)
_OF_AREAS = (
    ColumnInfo(
        "area",
        "chance that of an image with the rating 1 and one with 0 the first has the larger activation",
    ),
    ColumnInfo(
        "average_precision", "average precision of finding images with the rating 1 by activation", better="higher"
    ),
    ColumnInfo("n_positive", "number of images with the rating 1", "images"),
    ColumnInfo("expected_groups", "number of groups expected to make it fire on the side with fewer groups", "groups"),
)
_FOUND = (
    ColumnInfo("q", "p adjusted for all tests of the family", better="lower"),
    ColumnInfo("significant", "1 if q is at most alpha, else 0; empty if not tested", better="higher"),
    ColumnInfo("negligible", "1 if |r| is shown to be smaller than negligible_r, else 0"),
    ColumnInfo("r_corrected", "r, corrected for having been picked because it is significant"),
    ColumnInfo("ci_low_corrected", "lower end of the 95 % interval of the corrected r"),
    ColumnInfo("ci_high_corrected", "upper end of the 95 % interval of the corrected r"),
)
_REPLICATED = (
    ColumnInfo("q_held_out", "p on held-out images, adjusted over what was significant before", "", "lower", "split"),
    ColumnInfo(
        "replicated",
        "1 if r has the same sign and is significant on held-out images, else 0",
        "",
        "higher",
        "split",
    ),
)
_SAMPLED = (
    ColumnInfo("ci_low_bootstrap", "lower end of the 95 % interval of r from samples (BCa)", option="bootstrap"),
    ColumnInfo("ci_high_bootstrap", "upper end of the 95 % interval of r from samples (BCa)", option="bootstrap"),
    ColumnInfo(
        "stability", "share of samples of the images in which r is significant again", "", "higher", "bootstrap"
    ),
)
_OF_MANY = (
    ColumnInfo("strongest", "of many ratings, the one with the largest |r|"),
    ColumnInfo("strongest_r", "{measure} with the strongest rating"),
    ColumnInfo("n_significant", "number of ratings with a significant r", "ratings", "higher"),
)
_SLOPE = "SD of the rating per SD of the feature"
MODERATION = (
    ColumnInfo("moderation_n.*", "number of images with a rating and all values that the contrast needs", "images"),
    ColumnInfo("moderation_n_active.*", "number of these on which the feature fires", "images"),
    ColumnInfo("moderation_low.*", "slope of the rating on the feature where the moderator is low", _SLOPE),
    ColumnInfo("moderation_high.*", "slope of the rating on the feature where the moderator is high", _SLOPE),
    ColumnInfo("moderation_difference.*", "difference of the slopes, high minus low", _SLOPE),
    ColumnInfo("moderation_ci_low.*", "lower end of the 95 % interval of the difference", _SLOPE),
    ColumnInfo("moderation_ci_high.*", "upper end of the 95 % interval of the difference", _SLOPE),
    ColumnInfo("moderation_df.*", "degrees of freedom of p and of the interval"),
    ColumnInfo("moderation_p.*", "two-sided p-value of the difference", better="lower"),
    ColumnInfo("moderation_q.*", "p adjusted for all contrasts, features and ratings of the family", better="lower"),
    ColumnInfo("moderation_significant.*", "1 if q is at most alpha, else 0; empty if not tested", better="higher"),
)
"""Each name goes on with the contrast, such as `category=face`."""


def of_pairs(measure: str) -> tuple[ColumnInfo, ...]:
    """The columns of all pairs of a feature and a rating."""
    return (
        ColumnInfo("r", f"{measure} between activation and rating, from -1 to 1"),
        ColumnInfo("p", "two-sided p-value of r", better="lower"),
        ColumnInfo("q", "p adjusted for all tests of the family", better="lower"),
    )


def _held_out(infos: Iterable[ColumnInfo]) -> list[ColumnInfo]:
    return [
        replace(
            info, name=f"{info.name}_held_out", description=f"{info.description}, on held-out images", option="split"
        )
        for info in infos
        if info.name != "n_active"
    ]


def _with_prefix(prefix: str, measure: str, infos: Iterable[ColumnInfo]) -> tuple[ColumnInfo, ...]:
    return tuple(
        replace(info, name=prefix + info.name, description=info.description.replace("{measure}", measure))
        for info in infos
    )


def of_slopes(prefix: str, measure: str, *, samples: bool = False) -> tuple[ColumnInfo, ...]:
    """The columns of a scorer whose r is a slope between standardised values."""
    tested = (*_TESTED, *_OF_SLOPES)
    infos = (*tested, *_FOUND, *_held_out(tested), *_REPLICATED, *(_SAMPLED if samples else ()), *_OF_MANY)
    return _with_prefix(prefix, measure, infos)


def of_areas(prefix: str, measure: str) -> tuple[ColumnInfo, ...]:
    """The columns of a scorer of areas under the ROC curve."""
    tested = (*_OF_AREAS, *_TESTED)
    return _with_prefix(prefix, measure, (*tested, *_FOUND, *_held_out(tested), *_REPLICATED))
