"""Draws the figures of a document from the runs: no photographs, because these may not be redistributed.

python figures.py ../../docs/oasis
"""

from __future__ import annotations

import sys
from pathlib import Path

import charts
from tables import CORRECTIONS, RUNS, SPACES, strongest

import saeviz

COLOUR = {"valence": "#1b6fb5", "arousal": "#b9521a", "beauty": "#6b4fa0"}
RATINGS = tuple(COLOUR)


def significant(runs: Path) -> charts.Drawing:
    """A bar for each rating, pooling and correction, as long as the share of the tested features."""
    page = charts.Drawing(760, 330)
    opened = {name: saeviz.open_run(runs / folder).correlations for name, folder in CORRECTIONS.items()}
    for column, tokens in enumerate(SPACES):
        scale = charts.Scale((0, 60), (110 + 330 * column, 390 + 330 * column))
        charts.axis_below(page, scale, (0, 20, 40, 60), (40, 280), "% of the tested features")
        page.text(scale(0), 26, tokens)
        for place, rating in enumerate(RATINGS):
            if column == 0:
                page.text(24, 80 + 80 * place, rating, fill=COLOUR[rating])
            for line, (name, table) in enumerate(opened.items()):
                own = table[(table["tokens"] == tokens) & (table["rating"] == rating) & table["q"].notna()]
                share, y = 100 * own["significant"].mean(), 46 + 80 * place + 18 * line
                page.bar((scale(0), y), (scale(share) - scale(0), 14), COLOUR[rating], 1 - 0.22 * line)
                words = f"{name} {own['significant'].sum():.0f}"
                page.text(scale(share) + 5, y + 11, words, size=11, fill=charts.MUTED)
    return page


def top(runs: Path) -> charts.Drawing:
    """The strongest features of each rating: r with its interval, and what is left with the controls held constant."""
    page = charts.Drawing(760, 720)
    run = saeviz.open_run(runs / "oasis")
    scale = charts.Scale((-0.5, 0.5), (400, 740))
    charts.axis_below(page, scale, (-0.4, -0.2, 0, 0.2, 0.4), (20, 670), "r with the rating")
    page.line((scale(0), 20), (scale(0), 670), charts.MUTED)
    y = 34
    for rating in RATINGS:
        page.text(20, y + 4, rating, fill=COLOUR[rating])
        found = strongest(run, rating)
        for feature, row in zip(saeviz.features_of(found), found.itertuples(), strict=True):
            label = run.labels.get(feature)
            words = f"{label.label} · " if label and label.label else ""
            page.text(390, y + 4, f"{words}{row.tokens}/{row.feature}", anchor="end", size=11)
            page.line((scale(row.ci_low), y), (scale(row.ci_high), y), COLOUR[rating], 2)
            page.dots([(scale(row.r), y)], COLOUR[rating], radius=4.5)
            page.ring(scale(row.partial_r), y, COLOUR[rating])
            y += 20
        y += 18
    page.text(
        20, 712, "dot: r with its 95 % interval · ring: partial r, category and brightness held constant", size=11
    )
    return page


def monosemanticity(runs: Path) -> charts.Drawing:
    """Every feature by its score in both embeddings."""
    page = charts.Drawing(560, 500)
    run = saeviz.open_run(runs / "oasis")
    scores = run.scores.dropna(subset=["monosemanticity", "monosemanticity_2"])
    x = charts.Scale((0, 0.8), (60, 540))
    y = charts.Scale((0, 1), (440, 40))
    charts.axis_below(page, x, (0, 0.2, 0.4, 0.6, 0.8), (40, 440), "monosemanticity by EfficientNet")
    charts.axis_left(page, y, (0, 0.2, 0.4, 0.6, 0.8, 1.0), (60, 540), "monosemanticity by colours")
    for space, colour in (("patch-max", "#1b6fb5"), ("cls", "#b9521a")):
        own = scores[scores["tokens"] == space]
        points = [(x(a), y(b)) for a, b in zip(own["monosemanticity"], own["monosemanticity_2"], strict=True)]
        page.dots(points, colour, radius=1.6, opacity=0.5)
    random_x = x(run.facts["monosemanticity_baseline_mean"])
    random_y = y(run.facts["monosemanticity_second_baseline_mean"])
    page.line((random_x, 40), (random_x, 440), charts.INK)
    page.line((60, random_y), (540, random_y), charts.INK)
    page.text(540, 494, "blue patch-max, orange cls; black lines: two random images", anchor="end", size=11)
    return page


def held_out(runs: Path) -> charts.Drawing:
    """What one half of the images found, by its r on the other half."""
    page = charts.Drawing(760, 330)
    table = saeviz.open_run(runs / "oasis-held-out").correlations
    for column, rating in enumerate(RATINGS):
        left = 50 + 240 * column
        x = charts.Scale((-0.5, 0.5), (left, left + 210))
        y = charts.Scale((-0.5, 0.5), (260, 50))
        charts.axis_below(page, x, (-0.4, -0.2, 0, 0.2, 0.4), (50, 260), "r on the half that found it")
        charts.axis_left(page, y, (-0.4, -0.2, 0, 0.2, 0.4), (left, left + 210), "")
        page.line((x(-0.5), y(-0.5)), (x(0.5), y(0.5)), charts.MUTED)
        found = table[(table["rating"] == rating) & (table["significant"] == 1)]
        for replicated, opacity in ((0, 0.25), (1, 0.7)):
            own = found[found["replicated"] == replicated]
            points = [(x(a), y(b)) for a, b in zip(own["r"], own["r_held_out"], strict=True)]
            page.dots(points, COLOUR[rating], radius=1.8, opacity=opacity)
        page.text(
            left, 30, f"{rating}: {found['replicated'].sum():.0f} of {len(found)} replicated", fill=COLOUR[rating]
        )
    page.text(50, 322, "up: r on the held-out half · pale: not replicated · line: the same on both halves", size=11)
    return page


def explained(runs: Path) -> charts.Drawing:
    """Out-of-fold R² of each predictor, below what raters allow."""
    page = charts.Drawing(760, 340)
    facts = saeviz.open_run(runs / "oasis").facts
    y = charts.Scale((0, 1), (280, 40))
    charts.axis_left(page, y, (0, 0.2, 0.4, 0.6, 0.8, 1.0), (50, 745), "R², out of fold")
    names = {
        ("lasso", "features", "layer8.patch-max"): "lasso",
        ("ridge", "features", "layer8.patch-max"): "ridge",
        ("ridge", "features", "all"): "ridge both",
        ("ridge", "activations", "layer8.patch-max"): "raw model",
        ("ridge", "embeddings", ""): "Efficient Net",
    }
    for column, (rating, entries) in enumerate(facts["prediction"].items()):
        left = 60 + 232 * column
        of = {(entry["method"], entry["source"], entry["space"]): entry["r2"] for entry in entries}
        for place, (key, name) in enumerate(names.items()):
            if key in of:
                corner = (left + 42 * place, y(of[key]))
                page.bar(corner, (34, y(0) - y(of[key])), COLOUR[rating], 0.4 + 0.15 * place if place < 3 else 0.35)
                page.text(corner[0] + 17, corner[1] - 5, f"{of[key]:.2f}", anchor="middle", size=11)
                for line, word in enumerate(name.split()):
                    page.text(corner[0] + 17, 294 + 12 * line, word, anchor="middle", size=9, fill=charts.MUTED)
        ceiling = facts["reliability"][rating]["reliability"]
        page.line((left - 4, y(ceiling)), (left + 210, y(ceiling)), charts.INK, 2)
        page.text(left, 334, rating, fill=COLOUR[rating])
    page.text(745, 26, "black: the raters' ceiling", anchor="end", size=11)
    return page


FIGURES = {
    "significant": (significant, "Share of features that go along with each rating, by four corrections"),
    "top": (top, "The ten features that go along most with each rating"),
    "monosemanticity": (monosemanticity, "Monosemanticity of every feature by two embeddings"),
    "held-out": (held_out, "Correlations on the half that found them and on the held-out half"),
    "explained": (explained, "How much of each rating features explain together"),
}

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (draw, title) in FIGURES.items():
        draw(RUNS).write(folder / f"{name}.svg", title)
