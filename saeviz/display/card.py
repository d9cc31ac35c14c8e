"""Figure of one feature: its top images, its activations, and its relations to ratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from saeviz.display.figure import BLUE, GREY, MANY, VERMILLION, Drawing, paper, size_of_points, words

if TYPE_CHECKING:
    from PIL.Image import Image

    from saeviz.typing import FloatArray


@dataclass(frozen=True)
class Card:
    """The content: `top` are pictures (None if one cannot be read) and activations; `relations` a row per rating."""

    title: str
    top: Sequence[tuple[Image | None, float]]
    activations: FloatArray
    ratings: Mapping[str, FloatArray]
    relations: Mapping[str, Mapping[str, Any]]


def draw_card(card: Card) -> Drawing:
    """Top images above; below how often it fires how strongly, and its activation against each rating."""
    n_columns = 1 + len(card.ratings)
    with paper(max(6.4, 1.9 * n_columns), 3.6) as figure:
        above, below = np.asarray(figure.subfigures(2, 1, height_ratios=[1, 1.6]))
        figure.suptitle(words(card.title, 90), x=0.01, ha="left", fontsize=9)
        pictures = np.atleast_1d(above.subplots(1, max(len(card.top), 1)))
        for axes in pictures:
            axes.set_axis_off()
        for axes, (picture, activation) in zip(pictures, card.top, strict=False):
            if picture is not None:
                axes.imshow(np.asarray(picture))
            axes.set_title(f"{activation:.3g}", fontsize=6.5, pad=2, loc="center")
        first, *others = np.atleast_1d(below.subplots(1, n_columns))
        _histogram(first, card.activations)
        for axes, (rating, values) in zip(others, card.ratings.items(), strict=True):
            _against(axes, card.activations, rating, values, card.relations.get(rating, {}))
    return figure


def _histogram(axes: Axes, activations: FloatArray) -> None:
    active = activations[activations != 0]
    axes.hist(active, bins=30, color=BLUE)
    axes.set_xlabel("activation")
    axes.set_ylabel("images")
    axes.set_title(f"fires on {active.size:,} of {activations.size:,}", fontsize=7.5)


def _against(axes: Axes, activations: FloatArray, rating: str, values: FloatArray, relation: Mapping[str, Any]) -> None:
    """Silent images are pale; the line is least squares through all of them, as r is of all of them."""
    rated = np.isfinite(values)
    active = rated & (activations != 0)
    for own, colour, name in ((rated & ~active, GREY, "silent"), (active, BLUE, "active")):
        axes.scatter(
            activations[own], values[own], s=size_of_points(int(rated.sum())), color=colour, alpha=0.4, linewidth=0,
            label=name, rasterized=bool(own.sum() > MANY),
        )  # fmt: skip
    x, y = activations[rated], values[rated]
    if x.size > 2 and np.ptp(x) > 0:
        slope, start = np.polyfit(x, y, 1)
        ends = np.array([x.min(), x.max()])
        axes.plot(ends, start + slope * ends, color=VERMILLION, linewidth=1)
    axes.set_xlabel("activation")
    axes.set_ylabel(words(rating))
    axes.set_title(_told(relation), fontsize=7.5)


def _told(relation: Mapping[str, Any]) -> str:
    """The correlation with its interval and q, as far as they are known."""
    known = {name: value for name, value in relation.items() if isinstance(value, float) and np.isfinite(value)}
    if "r" not in known:
        return "not tested"
    text = f"r {_signed(known['r'])}"
    if {"ci_low", "ci_high"} <= known.keys():
        text += f" [{_signed(known['ci_low'])}, {_signed(known['ci_high'])}]"
    more = [f"q {known['q']:.2g}"] if "q" in known else []
    more += [f"held out {_signed(known['r_held_out'])}"] if "r_held_out" in known else []
    return "\n".join([text, ", ".join(more)])


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
