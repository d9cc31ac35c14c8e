"""Figures of correlations: how strong and how certain those of a rating are, and which of them hold on other images."""

from __future__ import annotations

from collections.abc import Mapping
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
        figure.legend(*axes.get_legend_handles_labels(), ncols=3, loc="outside upper left", markerscale=1.6)
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


def replication(tables: Mapping[str, pd.DataFrame], *, measure: str) -> Drawing:
    """Every relation found on one part of the images: its r there, and its r on those held out.

    For each rating the rows of the significant ones, with `r`, `r_held_out` and `replicated`. Ratings share one scale.
    """
    both = [table[["r", "r_held_out"]].abs().to_numpy(dtype=float) for table in tables.values()]
    limit = 1.08 * max(float(np.nanmax(np.concatenate(both), initial=0.1)), 0.1)
    with paper(max(3.4, min(2.5 * len(tables), 7.2)), 3.5 if len(tables) == 1 else 2.9) as figure:
        every = figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
        for axes, (rating, table) in zip(every, tables.items(), strict=True):
            _found_and_held_out(axes, table)
            axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
            axes.set_title(words(rating))
            axes.set_xlabel(f"{words(measure, 60)}, where found")
        every[0].set_ylabel("on held-out images")
    return figure


def _found_and_held_out(axes: Axes, table: pd.DataFrame) -> None:
    replicated = table["replicated"] == 1
    for own, face, name in ((table[~replicated], "none", "not replicated"), (table[replicated], BLUE, "replicated")):
        axes.scatter(
            own["r"],
            own["r_held_out"],
            s=size_of_points(len(table)),
            facecolor=face,
            edgecolor=GREY if face == "none" else BLUE,
            alpha=0.75,
            linewidth=0.5 if face == "none" else 0,
            label=f"{name}: {len(own):,}",
            rasterized=len(own) > MANY,
        )
    line_at(axes, x=0, y=0)
    axes.axline((0, 0), slope=1, color=GREY, linewidth=0.6, linestyle=DASHES, zorder=0.5)
    axes.legend(loc="upper left", borderpad=0, handletextpad=0.1, markerscale=1.3)


def strongest(tables: Mapping[str, pd.DataFrame], *, measure: str, also: str | None) -> Drawing:
    """The strongest features of each rating, from the first down: r with its interval.

    For each rating the rows, with `r`, `ci_low`, `ci_high` and `name`; the column `also`, if there is one, is a ring.
    """
    n_rows = [len(table) for table in tables.values()]
    with paper(5.2, 0.9 + 0.17 * sum(n_rows) + 0.25 * len(tables)) as figure:
        every = figure.subplots(len(tables), 1, squeeze=False, sharex=True, height_ratios=[max(n, 1) for n in n_rows])
        for axes, (rating, table) in zip(every[:, 0], tables.items(), strict=True):
            rows = np.arange(len(table))
            colour = np.where(table["r"] > 0, BLUE, VERMILLION)
            axes.hlines(rows, table["ci_low"], table["ci_high"], color=colour, linewidth=1.4)
            axes.scatter(table["r"], rows, color=colour, s=18, linewidth=0, zorder=3, label="r with its 95 % interval")
            if also is not None:
                name = words(also.replace("_", " "))
                axes.scatter(
                    table[also], rows, facecolor="white", edgecolor=colour, s=15, linewidth=0.9, zorder=4, label=name
                )
            axes.set_yticks(rows, [words(name, 60) for name in table["name"]])
            axes.set_ylim(len(table) - 0.4, -0.6)
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            axes.grid(axis="x", color=PALE, linewidth=0.5)
            axes.set_axisbelow(True)
            line_at(axes, x=0)
            axes.set_title(words(rating))
        every[-1, 0].set_xlabel(words(measure, 60))
        if also is not None:
            handles, labels = every[0, 0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper right", ncols=2)
    return figure
