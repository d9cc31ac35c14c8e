"""What a relation may change with: images of a level against the others, a number, or two groups of raters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from saeviz import ConfigError, ScoreInput
from saeviz_correlation.controls import Control, control_columns
from saeviz_correlation.options import ModerationOptions
from saeviz_correlation.slopes import Model
from saeviz_correlation.targets import make_targets

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray, Mask

MOST = 20
"""Columns of a moderator and controls: the errors of groups take matrices of that size for each feature and group."""


@dataclass(frozen=True)
class Contrast:
    """One way in which relations with `ratings` may differ.

    `moderator` `[n_items]` is NaN where it is missing; None compares two `ratings` of the same images, of which the
    second has the name of the result. `covariates` `[n_items, k]` are its main effects and the controls.
    """

    name: str
    words: str
    ratings: tuple[str, ...]
    moderator: FloatArray | None
    covariates: FloatArray


@dataclass(frozen=True)
class Sample:
    """The images on which a contrast can be tested, and `ratings` `[n, n_ratings]` of these, in standard deviations.

    `targets` name the results. `sides` are the images on which a feature has to fire often enough.
    """

    contrast: Contrast
    model: Model
    ratings: FloatArray
    targets: tuple[str, ...]
    sides: tuple[Mask, ...]


def make_contrasts(data: ScoreInput, options: ModerationOptions, place: str) -> list[Contrast]:
    """In the order of the options; the levels of a category are compared one by one, unless there are two of them."""
    held = control_columns(data, options.control, f"{place}.control")
    controls = [control.values for control in held]
    chosen = tuple(dict.fromkeys(data.ratings if options.ratings is None else options.ratings))
    found = []
    for control in control_columns(data, tuple(dict.fromkeys(options.moderators)), f"{place}.moderators"):
        check_width(control, held, place)
        covariates = np.hstack([control.values, *controls])
        ratings = tuple(name for name in chosen if name != control.column)
        found += [Contrast(name, words, ratings, values, covariates) for name, words, values in _ways(control)]
    empty = np.zeros((data.n_items, 0))
    for low, high in options.rater_groups:
        words = f"{high} against {low}, of the same images"
        found.append(Contrast(f"against {low}", words, (low, high), None, np.hstack([empty, *controls])))
    return found


def check_width(moderator: Control, controls: Sequence[Control], place: str) -> None:
    """Raise `ConfigError` for too many columns of a moderator and controls."""
    n = sum(one.values.shape[1] for one in (moderator, *controls))
    if n > MOST:
        raise ConfigError(
            f"{place}: {n} columns of {moderator.column!r} and control (a category counts once for each of its values) "
            f"are too many; the limit is {MOST}"
        )


def _ways(control: Control) -> Iterator[tuple[str, str, FloatArray]]:
    """Name, words and moderator of each contrast; of two levels there is one, with the name of the second."""
    if not control.levels:
        yield control.column, f"{control.column} (number)", control.values[:, 0]
        return
    two = len(control.levels) == 2
    for level, values in zip(control.levels[two:], control.values.T[two:], strict=True):
        name = f"{control.column}={level}"
        yield name, f"{name} against the other{'' if two else 's'}", values


def make_samples(data: ScoreInput, contrast: Contrast, codes: IntArray | None, is_robust: bool) -> Iterator[Sample]:
    """A sample for all ratings that the same images have; `codes` are the groups of all images."""
    ratings: Mapping[str, FloatArray] = {name: np.asarray(data.ratings[name], np.float64) for name in contrast.ratings}
    if contrast.moderator is None:
        both = np.logical_and.reduce([np.isfinite(values) for values in ratings.values()])
        ratings = {name: np.where(both, values, np.nan) for name, values in ratings.items()}
    controls = contrast.covariates if contrast.covariates.shape[1] else None
    everywhere = np.ones(data.n_items, dtype=bool)
    for targets in make_targets(replace(data, ratings=ratings), contrast.ratings, everywhere, controls=controls):
        images = np.flatnonzero(targets.rated)
        if not images.size:
            continue
        starts = np.arange(images.size) if is_robust else None
        if codes is not None:
            images = images[np.argsort(codes[images], kind="stable")]
            starts = np.flatnonzero(np.diff(codes[images], prepend=-1))
        moderator = None if contrast.moderator is None else _scaled(contrast.moderator[images])
        basis = np.column_stack([np.full(images.size, images.size**-0.5), targets.basis[images]])
        values = np.column_stack([ratings[name][images] for name in targets.names])
        yield Sample(
            contrast,
            Model(images, starts, basis, moderator),
            _in_deviations(values, together=moderator is None),
            targets.names if contrast.moderator is not None else targets.names[1:],
            _sides(moderator),
        )


def _scaled(moderator: FloatArray) -> FloatArray:
    """0 and 1 for the lower and higher of two values, else for one standard deviation below and above the mean."""
    low, high = float(moderator.min()), float(moderator.max())
    if not np.isin(moderator, (low, high)).all():
        mean, deviation = float(moderator.mean()), float(moderator.std())
        low, high = mean - deviation, mean + deviation
    return (moderator - low) / (high - low) if high > low else np.zeros_like(moderator)


def _in_deviations(values: FloatArray, *, together: bool) -> FloatArray:
    """Each column in its own standard deviations, or all in a common one; NaN where one never varies."""
    variances = np.where(np.ptp(values, axis=0) > 0, values.var(axis=0), np.nan)
    unit = np.sqrt(np.full(variances.shape, variances.mean()) if together else variances)
    return np.asarray((values - values.mean(axis=0)) / unit)


def _sides(moderator: FloatArray | None) -> tuple[Mask, ...]:
    if moderator is None or not np.isin(moderator, (0.0, 1.0)).all():
        return ()
    return moderator == 0, moderator == 1


def count_active(active: Mask, sides: Sequence[Mask]) -> IntArray:
    """Images on which each feature fires, on the side with fewer if there are any; `active` is `[n_features, n]`."""
    return np.asarray(np.min([active[:, side].sum(axis=1) for side in sides] or [active.sum(axis=1)], axis=0))
