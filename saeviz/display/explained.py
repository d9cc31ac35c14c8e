"""Figure of how much of each rating all features explain together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from saeviz.display.figure import BLUE, INK, ORANGE, PALETTE, Drawing, paper, words


def explained(
    predictions: Mapping[str, Sequence[tuple[str, float]]], *, measure: str, ceilings: Mapping[str, float]
) -> Drawing:
    """A bar for each predictor of a rating, and a line for how much the noise of the raters leaves to explain.

    `predictions` are names and values, the same names for all ratings if possible, so that they have the same colours.
    """
    names = list(dict.fromkeys(name for bars in predictions.values() for name, _ in bars))
    colours = dict(zip(names, (BLUE, *PALETTE[2:], *[ORANGE] * len(names)), strict=False))
    lowest = min((value for bars in predictions.values() for _, value in bars), default=0.0)
    with paper(max(3.4, min(2.5 * len(predictions), 7.2)), 0.9 + 0.24 * max(len(names), 2)) as figure:
        every = figure.subplots(1, len(predictions), squeeze=False, sharex=True, sharey=True)[0]
        for axes, (rating, bars) in zip(every, predictions.items(), strict=True):
            rows = [names.index(name) for name, _ in bars]
            drawn = axes.barh(rows, [value for _, value in bars], color=[colours[name] for name, _ in bars], height=0.7)
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
