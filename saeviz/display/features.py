"""Figures of all features at once: their monosemanticity, and a map of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from saeviz.display.figure import BLUE, GREY, INK, MANY, PALE, PALETTE, Drawing, line_at, paper, size_of_points, words

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from saeviz.typing import FloatArray, Mask


BEHIND_TEXT = {"boxstyle": "round,pad=0.1", "facecolor": "white", "alpha": 0.7, "linewidth": 0}


@dataclass(frozen=True)
class Colour:
    """What features are coloured by: a number or a kind for each.

    `signed` numbers have one colour below zero and another above.
    """

    label: str
    values: FloatArray | Sequence[str]
    signed: bool = False


@dataclass(frozen=True)
class Against:
    """What monosemanticity is plotted against: a number for each feature."""

    label: str
    values: FloatArray
    is_count: bool = False


def monosemanticity(scores: pd.DataFrame, against: Against, *, random_pairs: float | None) -> Drawing:
    """The score of every feature against something else, and how many have which score.

    Features whose images are more alike than chance (`ms_q` of 0.05 or less) are in colour, if that was tested.
    """
    shown = np.isfinite(against.values) & scores["monosemanticity"].notna().to_numpy()
    x, y = against.values[shown], scores["monosemanticity"].to_numpy(dtype=float)[shown]
    tested = "ms_q" in scores
    alike = scores["ms_q"].to_numpy(dtype=float)[shown] <= 0.05 if tested else np.ones(x.size, dtype=bool)
    kinds = (
        {"more alike than chance": (alike, BLUE), "no more than chance": (~alike, GREY)}
        if tested
        else {"features": (alike, BLUE)}
    )
    with paper(4.8, 3.4) as figure:
        axes, beside = figure.subplots(1, 2, sharey=True, width_ratios=[4, 1])
        for name, (own, colour) in kinds.items():
            axes.scatter(
                x[own],
                y[own],
                s=size_of_points(x.size),
                color=colour,
                alpha=0.5,
                linewidth=0,
                label=f"{name}: {own.sum():,}",
                rasterized=bool(own.sum() > MANY),
            )
        if against.is_count:
            axes.set_xscale("log")
        beside.hist(
            [y[own] for own, _ in kinds.values()],
            bins=50,
            orientation="horizontal",
            stacked=True,
            color=[PALE if colour == GREY else colour for _, colour in kinds.values()],
        )
        beside.set_xlabel("features")
        if random_pairs is not None:
            for one in (axes, beside):
                line_at(one, y=random_pairs)
            axes.annotate(
                "two random images", (1, random_pairs), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                fontsize=6.5, color=INK, bbox=BEHIND_TEXT,
            )  # fmt: skip
        axes.set_xlabel(words(against.label, 60))
        axes.set_ylabel("monosemanticity")
        figure.legend(*axes.get_legend_handles_labels(), ncols=2, loc="outside upper left", markerscale=1.6)
    return figure


def feature_map(points: FloatArray, colour: Colour, *, named: Mapping[int, str]) -> Drawing:
    """Features at places of a map. `named` are words by the place of the row."""
    with paper(5, 4.2) as figure:
        axes = _placed(figure, points, colour)
        _name(axes, points, named)
        axes.set(aspect="equal", xticks=[], yticks=[])
        axes.spines[["left", "bottom"]].set_visible(False)
    return figure


def two_columns(points: FloatArray, colour: Colour, *, across: str, up: str) -> Drawing:
    """Features by two numbers each."""
    with paper(5, 4) as figure:
        axes = _placed(figure, points, colour)
        axes.set(xlabel=words(across, 60), ylabel=words(up, 60))
    return figure


def _placed(figure: Drawing, points: FloatArray, colour: Colour) -> Axes:
    """The features that have a place, in the colour of a number or of a kind."""
    placed = np.isfinite(points[:, 0]) & np.isfinite(points[:, 1])
    axes = figure.subplots()
    if len(colour.values) and isinstance(colour.values[0], str):
        _in_kinds(axes, points, placed, np.asarray(colour.values), colour.label)
    else:
        numbers = np.asarray(colour.values, dtype=float)
        _in_numbers(figure, axes, points, placed, numbers, label=colour.label, signed=colour.signed)
    return axes


def _in_kinds(axes: Axes, points: FloatArray, placed: Mask, kinds: NDArray[np.str_], label: str) -> None:
    names, counts = np.unique(kinds[placed], return_counts=True)
    ordered = sorted(names[np.argsort(-counts, kind="stable")].tolist(), key=lambda name: name == "")
    for place, name in enumerate(ordered):
        own = placed & (kinds == name)
        axes.scatter(
            points[own, 0],
            points[own, 1],
            s=size_of_points(int(placed.sum())),
            color=PALETTE[place] if name and place < len(PALETTE) else PALE,
            zorder=1 if name else 0.8,
            alpha=0.6,
            linewidth=0,
            label=f"{words(name) if name else 'none'}: {own.sum():,}",
            rasterized=bool(own.sum() > MANY),
        )
    axes.legend(
        loc="upper left", bbox_to_anchor=(1, 1), title=words(label), title_fontsize=7, alignment="left", markerscale=2
    )


def _in_numbers(
    figure: Drawing,
    axes: Axes,
    points: FloatArray,
    placed: Mask,
    numbers: FloatArray,
    *,
    label: str,
    signed: bool,
) -> None:
    """The largest numbers in front; features without one are pale, behind."""
    known = placed & np.isfinite(numbers)
    size = size_of_points(int(placed.sum()))
    bare = points[placed & ~known]
    axes.scatter(bare[:, 0], bare[:, 1], s=size, color=PALE, linewidth=0, rasterized=len(bare) > MANY, label="no value")
    order = np.flatnonzero(known)
    order = order[np.argsort(np.abs(numbers[order]), kind="stable")]
    limit = float(np.abs(numbers[order]).max(initial=0)) or 1.0
    drawn = axes.scatter(
        points[order, 0],
        points[order, 1],
        s=size,
        c=numbers[order],
        cmap="coolwarm" if signed else "viridis",
        vmin=-limit if signed else None,
        vmax=limit if signed else None,
        linewidth=0,
        rasterized=bool(order.size > MANY),
        label=words(label),
    )
    figure.colorbar(drawn, ax=axes, shrink=0.6, aspect=25, label=words(label, 60)).outline.set_visible(False)


def _name(axes: Axes, points: FloatArray, named: Mapping[int, str]) -> None:
    """Words beside points, as far as they are not on one another."""
    taken: list[FloatArray] = []
    for row, name in named.items():
        point = points[row]
        if not np.isfinite(point).all() or any((np.abs(point - other) < (0.3, 0.06)).all() for other in taken):
            continue
        taken.append(point)
        axes.annotate(
            words(name, 24), point, xytext=(3, 3), textcoords="offset points", fontsize=6.5, color=INK,
            bbox=BEHIND_TEXT,
        )  # fmt: skip
        axes.scatter(point[0], point[1], s=14, facecolor="none", edgecolor=INK, linewidth=0.6, zorder=3)
