"""Figures of correlations: how strong and how certain those of a rating are, and which of them hold on other images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from saeviz.display.figure import (
    BLUE,
    DASHES,
    GREY,
    INK,
    MANY,
    PALE,
    VERMILLION,
    Drawing,
    line_at,
    paper,
    size_of_points,
    words,
)

if TYPE_CHECKING:
    import pandas as pd

SMALLEST = 1e-300
"""A smaller p has rounded to 0."""


def volcano(table: pd.DataFrame, *, rating: str, measure: str, alpha: float, named: int) -> Drawing:
    """How strong and how certain every tested feature is: r and -log10 p, and above how many features have which r.

    `table` has a row for each, with `r`, `p`, `q`, `significant` and `name`. The `named` most certain ones of each sign
    have their names beside them.
    """
    tested = table[table["q"].notna()]
    significant = tested["significant"] == 1
    kinds = {
        "not significant": (tested[~significant], GREY),
        "r > 0": (tested[significant & (tested["r"] > 0)], BLUE),
        "r < 0": (tested[significant & (tested["r"] <= 0)], VERMILLION),
    }
    with paper(5.2, 3.9) as figure:
        above, axes = figure.subplots(2, 1, sharex=True, height_ratios=[1, 4])
        for name, (own, colour) in kinds.items():
            axes.scatter(
                own["r"],
                -np.log10(np.maximum(own["p"], SMALLEST)),
                s=size_of_points(len(tested)),
                color=colour,
                alpha=0.7 if colour != GREY else 0.4,
                linewidth=0,
                label=f"{name}: {len(own):,}",
                rasterized=len(own) > MANY,
            )
        furthest = max(float(tested["r"].abs().max()), 0.1) if len(tested) else 0.1
        axes.set_xlim(-1.08 * furthest, 1.08 * furthest)
        bins = np.linspace(-furthest, furthest, 61).tolist()
        parts = [own["r"] for own, _ in kinds.values()]
        above.hist(parts, bins=bins, stacked=True, color=[PALE, BLUE, VERMILLION])
        above.set_ylabel("features")
        if significant.any():
            cut = -np.log10(max(tested["p"][significant].max(), SMALLEST))
            line_at(axes, y=cut, dashed=True)
            axes.annotate(f"q = {alpha:g}", (0, cut), ha="center", va="bottom", color=INK, fontsize=6.5)
            _mark(axes, tested[significant], named)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(f"{words(measure, 60)} with {words(rating)}")
        axes.set_ylabel("\N{MINUS SIGN}log$_{10}$ p")
        above.legend(
            *axes.get_legend_handles_labels(), ncols=3, loc="lower left", bbox_to_anchor=(0, 1), markerscale=1.6
        )
    return figure


def _mark(axes: Axes, significant: pd.DataFrame, named: int) -> None:
    """Names of the most certain features of each sign, inside the V that the points make, one below another."""
    top = -np.log10(max(significant["p"].min(), SMALLEST))
    axes.set_ylim(top=1.08 * top)
    for side in (1, -1):
        own = significant[np.sign(significant["r"]) == side].nsmallest(named, "p")
        below = np.inf
        for row in own.itertuples():
            y = -np.log10(max(row.p, SMALLEST))
            below = min(y, below - 0.055 * top)
            axes.annotate(
                words(row.name, 28),
                (row.r, y),
                xytext=(row.r - side * 0.04 * axes.get_xlim()[1], below),
                ha="right" if side > 0 else "left",
                va="center",
                fontsize=6.5,
                color=INK,
                arrowprops={"arrowstyle": "-", "color": PALE, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 1},
            )


def replication(table: pd.DataFrame, *, rating: str, measure: str) -> Drawing:
    """Every relation found on one part of the images: its r there, and its r on those held out.

    `table` has the rows of the significant ones, with `r`, `r_held_out` and `replicated`.
    """
    with paper(3.4, 3.5) as figure:
        draw_replication(figure.subplots(), table, rating=rating, measure=measure)
    return figure


def draw_replication(axes: Axes, table: pd.DataFrame, *, rating: str, measure: str, colour: str = BLUE) -> None:
    """The same on given axes, for figures of several ratings."""
    replicated = table["replicated"] == 1
    for own, face, name in ((table[~replicated], "none", "not replicated"), (table[replicated], colour, "replicated")):
        axes.scatter(
            own["r"],
            own["r_held_out"],
            s=size_of_points(len(table)),
            facecolor=face,
            edgecolor=GREY if face == "none" else colour,
            alpha=0.75,
            linewidth=0.5 if face == "none" else 0,
            label=f"{name}: {len(own):,}",
            rasterized=len(own) > MANY,
        )
    both = table[["r", "r_held_out"]].abs().to_numpy(dtype=float)
    limit = 1.08 * max(float(np.nanmax(both, initial=0.1)), 0.1)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    line_at(axes, x=0, y=0)
    axes.axline((0, 0), slope=1, color=GREY, linewidth=0.6, linestyle=DASHES, zorder=0.5)
    axes.set_xlabel(f"{words(measure, 60)}, where found")
    axes.set_ylabel("on held-out images")
    axes.set_title(words(rating))
    axes.legend(loc="upper left", borderpad=0, handletextpad=0.1)
