"""Measure how well a judge discriminates at all, and how many labels would be confirmed by guessing."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from math import comb, isnan
from typing import Any, NamedTuple

from saeviz.formats.accuracy import Estimate, mean_of, proportion
from saeviz.formats.judgements import CHANCE, Judgement, Kind, says_no, says_yes

ENOUGH = 0.7
"""Balanced accuracy on the images that names were made from. A right name that holds on other images as on these fails
in one of eight cases at 0.7, in three of ten at 0.65, in every second one at 0.6 (12 active and 12 silent images)."""
NEARLY_CHANCE = 0.55
"""Balanced accuracy on held-out images; below it, the judge says no, or yes, to nearly all of them."""


class Power(NamedTuple):
    """A judge's answers over all labels of a run: shares of images, each with its 95 % interval.

    `seen` is the share of the images seen by the labeler for which the judge says that the label applies; `held_out` is
    the same for held-out images on which features fire. `passed_over` is the share of images without the feature for
    which it says that the label does not apply. `recognised` labels are those that it says apply to at least half of
    the images seen by the labeler; `known` and `known_passed_over` are `held_out` and `passed_over` for these alone.
    `by_guessing` is the expected number of the `n` labels confirmed by random answers that are yes as often as this
    judge's.
    """

    seen: Estimate
    held_out: Estimate
    passed_over: Estimate
    recognised: int
    known: Estimate
    known_passed_over: Estimate
    by_guessing: float
    n: int

    @property
    def reason(self) -> str:
        """Why nothing follows from this judge's answers, '' if they are informative."""
        on_seen, on_new = mean_of(self.seen, self.passed_over), mean_of(self.known, self.known_passed_over)
        if on_seen.high < ENOUGH and not on_new.value >= ENOUGH:
            yes, wrongly, where = self.seen, self.passed_over, "that the labeler saw"
        elif on_new.high < NEARLY_CHANCE:
            yes, wrongly, where = (
                self.known,
                self.known_passed_over,
                "on which features fire",
            )
        else:
            return ""
        return (
            f"the judge has no power in this run: over all labels it says yes to {yes.value:.0%} of the images {where} "
            f"and to {1 - wrongly.value:.0%} of those on which features are silent"
        )

    def as_facts(self) -> dict[str, Any]:
        """The values for the manifest; None for a share of no images."""
        shares = (self.seen.value, self.held_out.value, 1 - self.passed_over.value)
        names = ("judge_sensitivity_seen", "judge_sensitivity_held_out", "judge_false_positive_rate")
        values = {name: None if isnan(one) else round(one, 4) for name, one in zip(names, shares, strict=True)}
        values["judge_recognised"] = self.recognised
        return {**values, "confirmed_by_guessing": round(self.by_guessing, 2), "judge_powerless": self.reason}


def power_of(judgements: Iterable[Judgement]) -> Power:
    """The power over all labels that have enough images."""
    judged = [one for one in judgements if one.is_judged]
    recognised = [one for one in judged if not says_yes(one.scores("seen")).value < 0.5]  # NaN where it saw none
    yes = says_yes(_scores(judged, "active", "silent", "hard")).value
    guessed = (_guessed(len(one.scores("active")), len(one.scores("silent", "hard")), yes) for one in judged)
    return Power(
        seen=says_yes(_scores(judged, "seen")),
        held_out=says_yes(_scores(judged, "active")),
        passed_over=says_no(_scores(judged, "silent", "hard")),
        recognised=len(recognised),
        known=says_yes(_scores(recognised, "active")),
        known_passed_over=says_no(_scores(recognised, "silent", "hard")),
        by_guessing=sum(guessed),
        n=len(judged),
    )


def _scores(judgements: Iterable[Judgement], *kinds: Kind) -> list[float]:
    return [score for one in judgements for score in one.scores(*kinds)]


@cache
def _guessed(n_active: int, n_silent: int, yes: float) -> float:
    """The probability that random answers, each yes with probability `yes`, confirm a label."""
    return sum(
        _binomial(a, n_active, yes) * _binomial(b, n_silent, yes)
        for a in range(n_active + 1)
        for b in range(n_silent + 1)
        if mean_of(proportion(a, n_active), proportion(n_silent - b, n_silent)).low > CHANCE
    )


def _binomial(count: int, n: int, p: float) -> float:
    return comb(n, count) * p**count * (1 - p) ** (n - count)
