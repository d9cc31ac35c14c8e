"""Draws the figures of a document from the runs: no photographs, because these may not be redistributed.

python figures.py ../../docs/tutorial/oasis
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.figure import Figure
from tables import CORRECTIONS, RUNS, SPACES

import saeviz

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOUR = {"valence": "#0072B2", "arousal": "#D55E00", "beauty": "#CC79A7"}
RATINGS = tuple(COLOUR)


def significant(runs: Path) -> Figure:
    """A bar for each rating, pooling and correction, as long as the share of the tested features."""
    opened = {name: saeviz.open_run(runs / folder) for name, folder in CORRECTIONS.items()}
    with opened["bh"].plot.style():
        figure = Figure(figsize=(6.4, 2.9), layout="constrained")
        for axes, tokens in zip(figure.subplots(1, len(SPACES), sharex=True, sharey=True), SPACES, strict=True):
            for place, (name, run) in enumerate(opened.items()):
                _bars(axes, run, tokens, name, place)
            axes.set(title=tokens, xlim=(0, 62), xlabel="% of the tested features")
            axes.set_yticks([1.5 + 5 * place for place in range(len(RATINGS))], RATINGS)
            axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
    return figure


def _bars(axes: Axes, run: saeviz.Run, tokens: str, correction: str, place: int) -> None:
    """The share for each rating by one correction."""
    table = run.correlations
    tested = table[(table["tokens"] == tokens) & table["q"].notna()]
    found = [tested[tested["rating"] == rating]["significant"] for rating in RATINGS]
    rows = [place + 5 * number for number in range(len(RATINGS))]
    bars = axes.barh(
        rows, [100 * own.mean() for own in found], color=[(COLOUR[rating], 1 - 0.22 * place) for rating in RATINGS]
    )
    axes.bar_label(bars, [f"{correction} {own.sum():.0f}" for own in found], padding=3, fontsize=6.5)


def top(runs: Path) -> Figure:
    """The strongest features of each rating: r with its interval, and what is left with the controls held constant."""
    figure = saeviz.open_run(runs / "oasis").plot.strongest(*RATINGS, also="partial_r")
    figure.legends[0].get_texts()[1].set_text("partial r, category and brightness held constant")
    return figure


def monosemanticity(runs: Path) -> Figure:
    """Every feature by its score in both embeddings."""
    run = saeviz.open_run(runs / "oasis")
    figure = run.plot.ms("monosemanticity_2")
    axes = figure.axes[0]
    axes.axvline(run.facts["monosemanticity_second_baseline_mean"], color="#8f979f", linewidth=0.6, zorder=0.5)
    for points in axes.collections:
        points.set_rasterized(False)
    axes.set(xlabel="monosemanticity by colours", ylabel="monosemanticity by EfficientNet")
    return figure


def held_out(runs: Path) -> Figure:
    """What one half of the images found, by its r on the other half."""
    return saeviz.open_run(runs / "oasis-held-out").plot.replication(*RATINGS)


def explained(runs: Path) -> Figure:
    """Out-of-fold R² of each predictor, and what raters allow."""
    return saeviz.open_run(runs / "oasis").plot.explained(*RATINGS)


FIGURES = {
    "significant": (significant, "Share of features that go along with each rating, by four corrections"),
    "top": (top, "The ten features that go along most with each rating"),
    "monosemanticity": (monosemanticity, "Monosemanticity of every feature by two embeddings"),
    "held-out": (held_out, "Correlations on the half that found them and on the held-out half"),
    "explained": (explained, "How much of each rating features explain together"),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    matplotlib.rcParams |= {
        "svg.hashsalt": "saeviz",
        "svg.fonttype": "none",
    }  # the same files each time
    for name, (draw, title) in FIGURES.items():
        draw(RUNS).savefig(folder / f"{name}.svg", metadata={"Title": title, "Date": None})
