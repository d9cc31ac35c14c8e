"""Figure of how much of each rating all features explain together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from saeviz.display.figure import BLUE, GREY, INK, Drawing, paper, words


class Predictor(NamedTuple):
    """What a rating is predicted from, and how well."""

    name: str
    value: float
    of_features: bool


def explained(
    predictions: Mapping[str, Sequence[Predictor]], *, measure: str, ceilings: Mapping[str, float]
) -> Drawing:
    """A bar for each predictor of a rating, and a line for how much the noise of the raters leaves to explain.

    Bars of what is not made of features, with which these are compared, are grey.
    """
    names = list(dict.fromkeys(bar.name for bars in predictions.values() for bar in bars))
    lowest = min((bar.value for bars in predictions.values() for bar in bars), default=0.0)
    with paper(max(3.4, min(2.5 * len(predictions), 7.2)), 0.9 + 0.24 * max(len(names), 2)) as figure:
        every = figure.subplots(1, len(predictions), squeeze=False, sharex=True, sharey=True)[0]
        for axes, (rating, bars) in zip(every, predictions.items(), strict=True):
            rows = [names.index(bar.name) for bar in bars]
            colours = [BLUE if bar.of_features else GREY for bar in bars]
            drawn = axes.barh(rows, [bar.value for bar in bars], color=colours, height=0.7)
            axes.bar_label(drawn, fmt="%.2f", padding=2, fontsize=6.5, color=INK)
            axes.set(
                xlim=(min(1.2 * lowest, 0), 1), yticks=range(len(names)), yticklabels=[words(name) for name in names]
            )
            axes.tick_params(axis="y", length=0)
            axes.set_title(words(rating))
            axes.set_xlabel(measure)
            if rating in ceilings:
                axes.axvline(ceilings[rating], color=INK, linewidth=1.2, label="the raters' ceiling")
        every[0].invert_yaxis()
        if ceilings:
            handle: Any = next(line for axes in every for line in axes.lines)
            figure.legend([handle], ["the raters' ceiling"], loc="outside upper right")
    return figure
