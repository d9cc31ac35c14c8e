"""Compare two runs: relations where the SAEs are the same, features where the images are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

import saeviz
from saeviz.comparison.shared import same_saes
from saeviz.comparison.sources import Source
from tests.conftest import FAKES

WITH_FAKES = ("--plugins", FAKES)


def fake(folder: Path, *, n: int = 60, seed: int = 0, n_features: int = 32, **more: object) -> saeviz.Run:
    """A run over `n` pictures; another seed draws others, another number of features is another SAE."""
    return saeviz.run(
        {
            "images": {"use": "fake-images", "n": n, "seed": seed},
            "extractor": {"use": "fake-extractor", "n_features": n_features},
            "store": {"use": "npz"},
            "embeddings": {"use": "none"},
            "scorers": [{"use": "pearson-bh"}],
            "reporters": [{"use": "fake-reporter"}],
            "run": {"dir": str(folder)},
            **more,
        },
        plugins=[FAKES],
    )


def edit_correlations(folder: Path, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = folder / "correlations.parquet"
    edit(pd.read_parquet(path)).to_parquet(path, index=False)
    manifest = json.loads((folder / "run.json").read_text())
    del manifest["stages"]["score"]["sha256"]
    (folder / "run.json").write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[saeviz.Run, saeviz.Run, saeviz.Run]:
    """A; B, the same SAEs on other images; C, other SAEs on the images of A."""
    folder = tmp_path_factory.mktemp("runs")
    return fake(folder / "a"), fake(folder / "b", n=80, seed=1), fake(folder / "c", n_features=48)


def test_relations_of_both_runs_stand_side_by_side(runs):
    one, other, _ = runs
    found = saeviz.compare(one, other)
    assert found.kind == "relations"
    table = found.tables["relations"]
    tested = [run.correlations[run.correlations["q"].notna()] for run in (one, other)]
    keys = [*saeviz.KEYS, "rating"]
    expected = tested[0].merge(tested[1], on=keys, suffixes=("_a", "_b"))
    assert len(table) == len(expected) > 50
    pd.testing.assert_series_equal(table["r_b"], expected["r_b"])
    row = found.tables["ratings"].set_index("rating").loc["warmth"]
    own = expected[expected["rating"] == "warmth"]
    assert row["r_of_r"] == pytest.approx(stats.pearsonr(own["r_a"], own["r_b"]).statistic, abs=1e-12)
    significant = own[own["significant_a"] == 1]
    again = significant[
        (np.sign(significant["r_a"]) == np.sign(significant["r_b"])) & (significant["significant_b"] == 1)
    ]
    assert (row["significant_a"], row["transferred"]) == (len(significant), len(again))
    low, high = proportion_confint(len(again), len(significant), method="wilson")
    assert (row["transferred_low"], row["transferred_high"]) == pytest.approx((low, high), abs=1e-6)


def test_joint_evidence_is_stouffers_and_adjusted_over_all_relations(runs):
    table = saeviz.compare(*runs[:2]).tables["relations"]
    expected = []
    for row in table.itertuples():
        one_sided = [  # in the direction of the first, as a p next to 1 has few digits
            stats.norm.sf(np.sign(r * row.r_a) * stats.norm.isf(p / 2))
            for r, p in ((row.r_a, row.p_a), (row.r_b, row.p_b))
        ]
        joint = stats.combine_pvalues(one_sided, method="stouffer", weights=np.sqrt([row.n_a, row.n_b]))
        expected.append(2 * stats.norm.sf(abs(joint.statistic)))
    np.testing.assert_allclose(table["p_joint"], expected, rtol=1e-6)
    np.testing.assert_allclose(table["q_joint"], multipletests(table["p_joint"], method="fdr_bh")[1], rtol=1e-9)


def test_opposite_signs_are_no_joint_evidence():
    from saeviz.comparison.relations import add_joint_evidence

    table = pd.DataFrame({"r_a": [0.3], "p_a": [1e-4], "n_a": [100], "r_b": [-0.3], "p_b": [1e-4], "n_b": [100]})
    add_joint_evidence(table)
    assert table["p_joint"][0] == pytest.approx(1.0)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> saeviz.Run:
    """As B, with its images in twelve groups."""
    folder = tmp_path_factory.mktemp("grouped")
    return fake(folder / "b", images={"use": "fake-images", "n": 80, "seed": 1, "groups": 12})


def predicted_by(one: saeviz.Run, other: saeviz.Run, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The warmth of the other run's images, and what features of the first predict of it, by scikit-learn."""
    chosen = saeviz.features_of(table[(table["rating"] == "warmth") & (table["significant_a"] == 1)])
    x = [
        np.column_stack([run.features(one.space_name).matrix[:, [one.index]].toarray() for one in chosen])
        for run in (one, other)
    ]
    y = [run.ratings_table["warmth"].to_numpy() for run in (one, other)]
    model = make_pipeline(StandardScaler(), RidgeCV(np.geomspace(1e-3, 1e5, 30))).fit(x[0], y[0])
    return y[1], model.predict(x[1])


@pytest.mark.slow
def test_features_of_one_run_predict_the_ratings_of_the_other(runs):
    found = saeviz.compare(*runs[:2])
    row = found.tables["predictions"].set_index("rating").loc["warmth"]
    y, predicted = predicted_by(*runs[:2], found.tables["relations"])
    assert row["r2"] == pytest.approx(r2_score(y, predicted), abs=1e-6)
    assert row["r"] == pytest.approx(stats.pearsonr(y, predicted).statistic, abs=1e-6)
    assert row["r2_low"] < row["r2"] < row["r2_high"]
    spread = stats.bootstrap(
        (y, predicted), r2_score, paired=True, vectorized=False, n_resamples=2000, method="percentile", rng=1
    ).confidence_interval
    assert (row["r2_low"], row["r2_high"]) == pytest.approx((spread.low, spread.high), abs=0.02)


@pytest.mark.slow
def test_the_interval_of_a_prediction_draws_whole_groups(runs, grouped):
    found = saeviz.compare(runs[0], grouped)
    row = found.tables["predictions"].set_index("rating").loc["warmth"]
    y, predicted = predicted_by(runs[0], grouped, found.tables["relations"])
    group = pd.Series([item.group for item in grouped.items])
    members = [np.flatnonzero(group == name) for name in group.unique()]

    def r2_of(drawn: np.ndarray) -> float:
        rows = np.concatenate([members[one] for one in drawn])
        return r2_score(y[rows], predicted[rows])

    spread = stats.bootstrap(
        (np.arange(len(members)),), r2_of, vectorized=False, n_resamples=2000, method="percentile", rng=1
    ).confidence_interval
    assert (row["r2_low"], row["r2_high"]) == pytest.approx((spread.low, spread.high), abs=0.02)


@pytest.mark.slow
def test_with_few_groups_a_prediction_has_no_interval(tmp_path, runs):
    few = fake(tmp_path / "few", images={"use": "fake-images", "n": 80, "seed": 1, "groups": 9})
    row = saeviz.compare(runs[0], few).tables["predictions"].set_index("rating").loc["warmth"]
    assert row["r2"] > 0
    assert np.isnan(row["r2_low"])
    assert np.isnan(row["r2_high"])


@pytest.mark.slow
@pytest.mark.parametrize("by_groups", [False, True], ids=["images", "groups"])
def test_the_agreement_has_an_interval_from_leaving_out_images(runs, grouped, by_groups):
    """With fewer groups than parts each is a part, and there are fewer degrees of freedom."""
    one, other = runs[0], grouped if by_groups else runs[1]
    table = saeviz.compare(one, other)
    own = table.tables["relations"].query("rating == 'warmth'")

    def r_of(run: saeviz.Run, keep: np.ndarray) -> np.ndarray:
        y = run.ratings_table["warmth"].to_numpy()[keep]
        matrices = {str(space): run.features(space).matrix.toarray()[keep] for space in run.spaces}
        return np.array(
            [np.corrcoef(matrices[one.space_name][:, one.index], y)[0, 1] for one in saeviz.features_of(own)]
        )

    everything = [r_of(run, np.ones(len(run.items), dtype=bool)) for run in (one, other)]
    variances, numbers = [], []
    for place, run in enumerate((one, other)):
        parts = Source(run).parts([item.item_id for item in run.items])
        without = [
            np.arctanh(np.corrcoef(r_of(run, parts != part), everything[1 - place])[0, 1]) for part in np.unique(parts)
        ]
        numbers.append(len(without))
        variances.append((1 - 1 / len(without)) * ((np.array(without) - np.mean(without)) ** 2).sum())
    assert numbers == [20, 12 if by_groups else 20]
    df = sum(variances) ** 2 / sum(
        variance**2 / (number - 1) for variance, number in zip(variances, numbers, strict=True)
    )
    middle, half = np.arctanh(np.corrcoef(*everything)[0, 1]), stats.t.ppf(0.975, df) * np.sqrt(sum(variances))
    row = table.tables["ratings"].set_index("rating").loc["warmth"]
    expected = np.tanh([middle - half, middle + half])
    np.testing.assert_allclose([row["r_of_r_low"], row["r_of_r_high"]], expected, rtol=1e-6)


def test_images_of_one_group_are_left_out_together(tmp_path):
    run = fake(tmp_path / "grouped", images={"use": "fake-images", "n": 60, "groups": 12})
    parts = Source(run).parts([item.item_id for item in run.items])
    of_group = {item.group: set() for item in run.items}
    for item, part in zip(run.items, parts, strict=True):
        of_group[item.group].add(part)
    assert all(len(found) == 1 for found in of_group.values())
    assert len(set(parts)) == 12


def test_features_have_partners_on_the_same_images(runs):
    one, _, other = runs
    found = saeviz.compare(one, other)
    assert found.kind == "features"
    sides = []
    for run in (one, other):
        names, columns = [], []
        for space in run.spaces:
            dense = run.features(space).matrix.toarray().astype(float)
            often = np.flatnonzero(((dense > 0).sum(axis=0) >= 10) & (np.ptp(dense, axis=0) > 0))
            names += [str(space.feature(int(index))) for index in often]
            columns.append(dense[:, often])
        sides.append((names, np.hstack(columns)))
    r = np.corrcoef(np.hstack([columns for _, columns in sides]).T)[: len(sides[0][0]), len(sides[0][0]) :]
    table = found.tables["partners_a"]
    assert [str(feature) for feature in saeviz.features_of(table)] == sides[0][0]
    np.testing.assert_allclose(table["r"].abs(), np.abs(r).max(axis=1), atol=1e-6)
    best = np.abs(r).argmax(axis=1)
    clear = np.sort(np.abs(r), axis=1)
    clear = clear[:, -1] - clear[:, -2] > 1e-6  # of copies, either may be the partner
    assert (table["partner"] == np.array(sides[1][0])[best])[clear].all()
    back = np.abs(r).argmax(axis=0)
    unique = clear & (np.diff(np.sort(np.abs(r), axis=0)[-2:], axis=0)[0] > 1e-6)[best]
    assert (table["mutual"] == (back[best] == np.arange(len(best))))[unique].all()
    spaces = found.tables["spaces"]
    assert spaces["chance"].between(0.1, 0.9).all()
    assert list(spaces["run"]) == ["A", "A", "B", "B"]


def test_runs_that_share_nothing_are_refused_with_a_sentence(tmp_path, runs):
    stranger = fake(tmp_path / "d", seed=2, n_features=48)
    with pytest.raises(saeviz.ConfigError, match=r"their SAEs differ .* 0 images in common"):
        saeviz.compare(runs[0], stranger)
    with pytest.raises(saeviz.ConfigError, match="no space in common"):
        saeviz.compare(runs[0], stranger, "relations")
    with pytest.raises(saeviz.ConfigError, match="over at least 20"):
        saeviz.compare(runs[0], runs[1], "features")


def test_runs_over_the_same_images_have_no_joint_evidence_and_no_predictions(runs):
    found = saeviz.compare(runs[0], runs[0])
    assert "p_joint" not in found.tables["relations"]
    assert "predictions" not in found.tables
    assert found.tables["ratings"]["r_of_r_low"].isna().all()
    assert any("60 images are in both runs" in note and "no predictions" in note for note in found.notes)


@pytest.mark.slow
def test_other_weights_under_the_same_names_are_other_saes(tmp_path, runs):
    """By what the extractors recorded; the names of spaces say nothing of weights."""
    made = []
    for name, commit in (("x", "1111"), ("y", "2222")):
        fake(tmp_path / name)
        path = tmp_path / name / "run.json"
        manifest = json.loads(path.read_text())
        manifest["stages"]["extract"]["provenance"] = {"engine": name, "saes": {"1": {"commit": commit}}}
        path.write_text(json.dumps(manifest))
        made.append(saeviz.open_run(tmp_path / name, plugins=[FAKES]))
    assert saeviz.compare(*made).kind == "features"
    assert any("different models or SAEs" in note for note in saeviz.compare(*made, "relations").notes)


@pytest.mark.parametrize(
    ("uses", "recorded", "same"),
    [
        (("a", "a"), ({"engine": "torch", "model": "m"}, {"engine": "openvino", "model": "m"}), True),
        (("a", "a"), ({"engine": "torch", "model": "m"}, {"engine": "torch", "model": "n"}), False),
        (("a", "b"), ({}, {}), False),
        (("a", "a"), ({}, {}), None),
        (("a", "a"), ({"engine": "torch"}, {"engine": "openvino"}), None),
        (("a", "a"), ({"model": "m", "doubts": ["x"]}, {"model": "m", "doubts": ["y"]}), True),
    ],
)
@pytest.mark.parametrize("several", [False, True])
def test_the_same_saes_are_known_by_what_each_extractor_recorded(uses, recorded, same, several):
    def run(number: int) -> saeviz.Run:
        table, made_by = {"use": uses[number]}, recorded[number]
        config = {"extractors": [{**table, "name": "one"}]} if several else {"extractor": table}
        stages = {"extract": {"provenance": {"one": made_by} if several else made_by}}
        return SimpleNamespace(manifest={"config": config, "stages": stages})

    assert same_saes(run(0), run(1)) is same


def test_of_hundreds_of_ratings_only_the_tables_are_compared(runs, monkeypatch):
    monkeypatch.setattr("saeviz.comparison.transfer.MOST_RATINGS", 1)
    found = saeviz.compare(*runs[:2])
    assert "predictions" not in found.tables
    assert found.tables["ratings"]["r_of_r_low"].isna().all()
    assert any("2 ratings are more than the 1" in note for note in found.notes)


def test_tables_without_readable_features_still_tell_what_transfers(tmp_path, runs, saeviz_command):
    """Nothing of the runs is loaded: the images and the extractor of `run.json` are of a plugin not allowed."""
    done = saeviz_command("compare", runs[0].dir, runs[1].dir, "--json")
    assert done.code == 0
    row = done.json()["tables"]["ratings"][0]
    assert row["transferred"] > 0
    assert row["r_of_r_low"] is None
    assert any("run A cannot be read" in note for note in done.json()["notes"])


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["p", "n", "significant"])
def test_a_figure_that_a_run_does_not_have_is_missed_and_said(tmp_path, runs, missing):
    folder = tmp_path / "x"
    fake(folder, seed=3)
    edit_correlations(folder, lambda table: table.drop(columns=missing))
    found = saeviz.compare(runs[0], saeviz.open_run(folder, plugins=[FAKES]))
    table = found.tables["relations"]
    assert f"{missing}_a" in table
    assert f"{missing}_b" not in table
    assert ("p_joint" in table) == (missing == "significant")
    said = f"no joint evidence: the main correlation of run B has no {missing}" in found.notes
    assert said == (missing != "significant")


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "reader"), [("csv", pd.read_csv), ("parquet", pd.read_parquet)])
def test_the_command_writes_all_tables(runs, saeviz_command, ending, reader):
    arguments = ("--out", "tables", "--format", ending, *WITH_FAKES)
    done = saeviz_command("compare", runs[0].dir, runs[1].dir, *arguments)
    assert done.code == 0, done
    assert "warmth" in done.out
    table = reader(f"tables/relations.{ending}")
    assert len(table) == len(saeviz.compare(*runs[:2]).tables["relations"])


def test_a_page_is_written_beside_the_tables_or_not_at_all(saeviz_command, runs):
    refused = saeviz_command("compare", "a", "b", "--html")
    assert refused.code == saeviz.ExitCode.USAGE
    assert "--html writes a page beside the tables; name a folder for them with --out" in refused.err
    done = saeviz_command("compare", runs[0].dir, runs[1].dir, "--out", "both", "--html", *WITH_FAKES)
    assert done.out.splitlines()[-1] == "both/index.html"
    page = Path("both/index.html").read_text()
    assert "default-src 'none'" in page
    assert page.count("<circle") == len(pd.read_csv("both/relations.csv"))


def test_tables_of_an_earlier_comparison_are_not_overwritten_unless_asked_for(saeviz_command):
    Path("tables").mkdir()
    Path("tables/ratings.csv").write_text("mine")
    refused = saeviz_command("compare", "a", "b", "--out", "tables")
    assert refused.code == saeviz.ExitCode.USAGE
    assert "tables has files already; choose another folder with --out, or overwrite them with --force" in refused.err
    assert "a is not a run directory" in saeviz_command("compare", "a", "b", "--out", "tables", "--force").err


@pytest.mark.slow
def test_what_a_run_calls_its_ratings_cannot_steer_a_terminal(tmp_path, runs, saeviz_command):
    for name in ("x", "y"):
        fake(tmp_path / name, seed=ord(name))
        edit_correlations(tmp_path / name, lambda table: table.replace({"rating": {"warmth": "\x1b[31mwarm\nth=1+1"}}))
    done = saeviz_command("compare", tmp_path / "x", tmp_path / "y", "--out", "t")
    assert done.code == 0, done
    assert "\x1b" not in done.out
    assert r"\x1b[31mwarm\nth=1+1" in done.out
    assert "\x1b" not in Path("t/ratings.csv").read_text()
