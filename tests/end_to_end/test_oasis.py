"""The worked example of docs/tutorial/oasis.md: real photographs and ratings, a real model, a published SAE format.

The run files of `examples/oasis` are run as the page says, and every number in its tables is compared. Other expected
counts are those that were published with the SAE, from an independent computation.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import util
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr
from statsmodels.stats.multitest import multipletests

import saeviz
from saeviz.pipeline.run import Plan
from tests.conftest import ROOT, SHARED
from tests.report_data import report_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not SHARED.is_dir(), reason="the folder of real photographs and weights is not beside the repository"
    ),
]

PUBLISHED = {
    ("cls", "valence"): (105, 35, 16, 0.244),
    ("cls", "arousal"): (105, 43, 19, 0.326),
    ("cls", "beauty"): (105, 48, 20, 0.307),
    ("patch-max", "valence"): (3069, 443, 308, 0.231),
    ("patch-max", "arousal"): (3069, 980, 743, 0.395),
    ("patch-max", "beauty"): (3069, 1301, 732, 0.354),
}
"""Features tested, significant within pooling and rating, of these positive, largest |r|."""


PAGE = ROOT / "docs" / "tutorial" / "oasis.md"
EXAMPLE = ROOT / "examples" / "oasis"
RATING_PREDICTED = "valence"
"""Predicting the others and from the raw model takes minutes; the page's numbers for those are not compared."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The example's folder with the data where it expects them, and the ratings with their new column."""
    folder = tmp_path_factory.mktemp("oasis") / "example"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("runs", "oasis", "models", "__pycache__"))
    for name in ("oasis", "models"):
        (folder / name).symlink_to(SHARED / name)
    for script in ("brightness.py", "series.py"):
        subprocess.run([sys.executable, folder / script], check=True)
    run_file = folder / "oasis.toml"
    cheaper = f'use = "prediction"\nratings = ["{RATING_PREDICTED}"]\nraw_model = false'
    run_file.write_text(run_file.read_text().replace('use = "prediction"', cheaper))
    return folder


@pytest.fixture(scope="module")
def saeviz_run(folder) -> Callable[..., saeviz.Run]:
    """As the command does it: `name` is that of the run directory; features come from what runs share."""

    def start(name: str, *settings: str, last: str = "report") -> saeviz.Run:
        places = [f"run.dir={folder / 'runs' / name}", "run.cache=true", f"run.cache_dir={folder.parent / 'cache'}"]
        return saeviz.run(folder / "oasis.toml", settings=[*places, *settings], plan=Plan(last=last))

    return start


@pytest.fixture(scope="module")
def run(saeviz_run) -> saeviz.Run:
    return saeviz_run("oasis")


@pytest.fixture(scope="module")
def held_out(run, saeviz_run) -> saeviz.Run:
    scorers = "[{use='monosemanticity'}, {use='pearson-bh', split=0.5}]"
    return saeviz_run("oasis-held-out", f"scorers={scorers}", last="score")


@pytest.fixture(scope="module")
def corrected(run, saeviz_run) -> dict[str, saeviz.Run]:
    """A run for each correction."""
    others = {
        name: saeviz_run(f"oasis-{name}", f"scorers=[{{use='pearson-bh', correction='{name}'}}]", last="score")
        for name in ("by", "bonferroni", "max-t")
    }
    return {"bh": run, **others}


@pytest.fixture(scope="module")
def grouped(run, saeviz_run) -> None:
    """The runs in which photographs belong to series, and to categories."""
    predicted = f"use='prediction', raw_model=false, ratings=['{RATING_PREDICTED}']"
    both = ", ".join(
        f"{{use='{use}'}}, {{use='{use}', name='naive', errors='independent'}}" for use in ("pearson-bh", "auc")
    )
    categories = ("images.group_column=series", "images.categories=['category']")
    saeviz_run("oasis-series", *categories, f"scorers=[{both}, {{{predicted}}}]", last="score")
    scorers = f"scorers=[{{use='pearson-bh'}}, {{{predicted}, folds=4}}]"
    saeviz_run("oasis-categories", "images.group_column=category", scorers, last="score")


def test_nothing_is_left_out(run):
    assert run.failures == []
    assert len(run.items) == 659
    assert run.ratings == ["valence", "arousal", "beauty"]


def test_as_many_features_fire_as_published(run):
    scores = run.scores.assign(live=run.scores["n_active"] > 0, always=run.scores["n_active"] == 659)
    assert scores.groupby("tokens")["live"].sum().to_dict() == {"cls": 757, "patch-max": 3072}
    assert scores.groupby("tokens")["always"].sum().to_dict() == {"cls": 8, "patch-max": 9}
    per_image = {str(space): run.features(space).matrix.nnz / 659 for space in run.spaces}
    assert per_image["layer8.cls"] == pytest.approx(40, abs=1e-9), "top-k with k = 40"
    assert per_image["layer8.patch-max"] == pytest.approx(934, abs=1)


@pytest.mark.parametrize(("tokens", "rating"), PUBLISHED)
def test_correlations_are_the_published_ones(run, tokens, rating):
    """Within a pooling and rating, as the figures were published; a feature at the edge may fall either way."""
    table = run.correlations
    family = table[(table["tokens"] == tokens) & (table["rating"] == rating) & table["q"].notna()]
    rejected = multipletests(family["p"], 0.05, "fdr_bh")[0]
    tested, significant, positive, largest = PUBLISHED[tokens, rating]
    assert len(family) == tested
    assert rejected.sum() == pytest.approx(significant, abs=2)
    assert (family["r"][rejected] > 0).sum() == pytest.approx(positive, abs=2)
    assert family["r"].abs().max() == pytest.approx(largest, abs=1e-3)


def test_the_family_is_the_whole_run(run):
    members = run.correlations.dropna(subset="q")
    assert len(members) == 3 * (105 + 3069)
    expected = multipletests(members["p"], 0.05, "fdr_bh")[1]
    pd.testing.assert_series_equal(members["q"], pd.Series(expected, members.index), check_names=False, rtol=1e-9)


def test_the_baseline_is_that_of_the_embedding(run):
    """Mean and sd of the cosine of two different images, published over all 216,811 pairs."""
    assert run.facts["monosemanticity_baseline_mean"] == pytest.approx(0.2329, abs=0.002)
    assert run.facts["monosemanticity_baseline_sd"] == pytest.approx(0.0791, abs=0.002)


def test_clusters_are_those_of_all_pairs(run):
    """Every member correlates with its leader; of no two leaders one could have joined the other."""
    features = np.hstack([run.features(space).matrix.toarray() for space in run.spaces]).astype(float)
    cluster = run.scores["cluster"].to_numpy()
    considered = np.flatnonzero(~np.isnan(cluster))
    assert len(considered) == 105 + 3069
    leaders, members = (considered[(cluster[considered] == considered) == lead] for lead in (True, False))
    assert len(members) >= 5
    r = np.corrcoef(features[:, leaders].T)
    assert np.max(r - np.eye(len(r))) < 0.8
    for member in members:
        assert np.corrcoef(features[:, member], features[:, int(cluster[member])])[0, 1] >= 0.8


def test_labels_say_what_is_on_the_top_images(run):
    """The features that are most of one thing; the words come from the themes, which the model never saw."""
    words = {label.label for label in run.labels.values()}
    assert any("face" in label for label in words)
    assert any("rocks" in label for label in words)
    assert any("sunset" in label for label in words)
    for feature, label in list(run.labels.items())[:20]:
        themes = " ".join(image.item.metadata["theme"].lower() for image in run.top_images(feature))
        assert all(word in themes for word in label.label.split(", ")[0].split())


def test_the_report_shows_every_selected_feature(run):
    tiers, report = report_of(run).column("tier"), report_of(run)
    assert len(run.selected) == 600 == (tiers > 0).sum()
    assert all(tiers[report.row(choice.feature)] == choice.tier for choice in run.selected)


def test_a_heatmap_of_one_photograph(run):
    feature = next(choice.feature for choice in run.selected if choice.feature.tokens == "patch-max")
    best = run.top_images(feature, k=1)[0]
    heatmap = run.heatmap(feature, best.item.item_id)
    assert heatmap.shape == (16, 16)
    assert heatmap.max() == pytest.approx(best.activation, rel=1e-3)


MINUS = "\N{MINUS SIGN}"
NUMBER = re.compile(rf"(?<![/\w-])[+{MINUS}]?\d+(?:\.\d+)?")
"""Not the number of a feature, which has to be the same."""


def table_of_page(name: str) -> list[list[str]]:
    """The cells of the table below the mark, without the line under its head."""
    lines = re.search(rf"<!-- {name} -->\n((?:\|.*\n)+)", PAGE.read_text())[1].splitlines()
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [rows[0], *rows[2:]]


def assert_same(quoted: str, found: str) -> None:
    """The same words, and numbers that differ no more than engines of other machines make them."""
    assert NUMBER.sub("", quoted) == NUMBER.sub("", found)
    for number, other in zip(NUMBER.findall(quoted), NUMBER.findall(found), strict=True):
        value, expected = (float(text.replace(MINUS, "-")) for text in (number, other))
        assert value == pytest.approx(expected, rel=0.01, abs=0.011 if "." in number else 2), f"{quoted}, now {found}"


QUOTED = re.findall(r"<!-- ([a-z ]+) -->", PAGE.read_text())


@pytest.fixture(scope="module")
def tables(folder, run, held_out, corrected, grouped) -> ModuleType:
    """The example's script, once all runs that it reads are there."""
    spec = util.spec_from_file_location("oasis_tables", folder / "tables.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestThePage:
    """Every cell of its tables, as the example's own script makes them from these runs."""

    def test_it_quotes_all_tables(self, tables):
        assert list(tables.TABLES) == QUOTED

    @pytest.mark.parametrize("name", QUOTED)
    def test_a_table_holds_what_the_runs_give(self, tables, folder, name):
        quoted = table_of_page(name)
        found = [[str(cell) for cell in row] for row in tables.TABLES[name](folder / "runs")]
        if name == "explained":
            raw_model = quoted[0].index("raw model")
            for row in (*quoted, *found):
                del row[raw_model]
        if name.startswith("explained"):
            quoted = [row for row in quoted if row[0] in ("rating", RATING_PREDICTED)]
        assert len(quoted) == len(found)
        for row, other in zip(quoted, found, strict=True):
            for cell, same in zip(row, other, strict=True):
                assert_same(cell, same)

    def test_its_figures_are_drawn_from_these_runs(self, tables, folder, held_out, monkeypatch):
        pytest.importorskip("matplotlib")
        monkeypatch.setitem(sys.modules, "tables", tables)
        spec = util.spec_from_file_location("oasis_figures", folder / "figures.py")
        figures = util.module_from_spec(spec)
        spec.loader.exec_module(figures)
        drawn = {name: draw(folder / "runs") for name, (draw, _) in figures.FIGURES.items()}
        assert {f"oasis/{name}.svg" for name in drawn} == set(re.findall(r"!\[.+\]\((.+)\)", PAGE.read_text()))
        found = held_out.correlations[held_out.correlations["significant"] == 1]
        for axes in drawn["held-out"].axes:
            points = [len(one.get_offsets()) for one in axes.collections]
            assert sum(points) == (found["rating"] == axes.get_title(loc="left")).sum() > 0

    def test_its_figures_are_there_and_hold_no_photograph(self):
        figures = [PAGE.parent / path for path in re.findall(r"!\[.+\]\((.+)\)", PAGE.read_text())]
        assert len(figures) == 5
        for figure in figures:
            assert not {"image", "foreignObject"} & {
                tag.tag.rpartition("}")[2] for tag in ElementTree.parse(figure).iter()
            }


def test_corrections_are_those_of_statsmodels(corrected):
    p = corrected["bh"].correlations.dropna(subset="q")["p"]
    for name, method in {"bh": "fdr_bh", "by": "fdr_by", "bonferroni": "bonferroni"}.items():
        found = corrected[name].correlations.dropna(subset="q")["significant"].to_numpy() == 1
        np.testing.assert_array_equal(found, multipletests(p, 0.05, method)[0])


@pytest.mark.parametrize("rating", ["valence", "arousal", "beauty"])
def test_halves_are_those_of_scipy(run, held_out, rating):
    """The strongest that was found: r on the images that found it and on the others, which together are all."""
    table = held_out.correlations
    row = table[(table["rating"] == rating) & (table["significant"] == 1)].sort_values("p").iloc[0]
    assert row["n"] + row["n_held_out"] == 659
    values = run.features(f"layer8.{row['tokens']}").matrix[:, [int(row["feature"])]].toarray()[:, 0].astype(float)
    ratings = np.array([item.ratings[rating] for item in run.items])
    whole = pearsonr(values, ratings).statistic
    assert min(row["r"], row["r_held_out"]) <= whole <= max(row["r"], row["r_held_out"])


def test_partial_r_is_what_is_left_after_the_controls(run):
    """By least squares on the dummies of category and on brightness, for the strongest of beauty."""
    table = run.correlations
    row = table[(table["rating"] == "beauty") & table["q"].notna()].sort_values("p").iloc[0]
    feature = run.features(f"layer8.{row['tokens']}").matrix[:, [int(row["feature"])]].toarray()[:, 0].astype(float)
    metadata = pd.DataFrame([item.metadata for item in run.items])
    controls = pd.get_dummies(metadata["category"], dtype=float)
    controls["brightness"] = metadata["brightness"].astype(float)
    beauty = np.array([item.ratings["beauty"] for item in run.items])
    left = [y - controls @ np.linalg.lstsq(controls, y, rcond=None)[0] for y in (feature, beauty)]
    assert row["partial_r"] == pytest.approx(np.corrcoef(*left)[0, 1], abs=1e-6)
    assert abs(row["partial_r"]) < abs(row["r"])


def test_names_of_other_photographs_are_no_judge(saeviz_run):
    """Held-out photographs of rocks are seldom called rocks, so a judge that goes by their names has no power."""
    scorers = "scorers=[{use='monosemanticity', thresholds='calibrated'}, {use='pearson-bh'}]"
    run = saeviz_run("judged", scorers, "judge.use=labeler", last="judge")
    assert len(run.judgements) > 100
    assert set(run.judgements["verdict"]) == {"not judged"}
    assert "the judge has no power in this run" in run.facts["judge_powerless"]
    assert run.facts["judge_sensitivity_seen"] < 0.4
    assert run.facts["judge_sensitivity_held_out"] < 0.1
