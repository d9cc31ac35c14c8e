"""One feature for each rating, against SciPy's assignment over the whole matrix."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linear_sum_assignment

import saeviz
from saeviz import KEYS


def made_up(r, *, kept=None, reliability=None, tested=None):
    """A run with these correlations, `[n_features, n_ratings]`, of which half are in each of two spaces."""
    n_features, n_ratings = r.shape
    feature, rating = np.indices(r.shape)
    half = n_features // 2
    table = pd.DataFrame(
        {
            "sae": "",
            "layer": np.where(feature.ravel() < half, 7, 11),
            "tokens": "cls",
            "feature": np.where(feature < half, feature, feature - half).ravel(),
            "rating": [f"rating {place}" for place in rating.ravel()],
            "r": r.ravel(),
            "q": np.where(np.ones(r.shape, bool) if tested is None else tested, 0.5, np.nan).ravel(),
        }
    )
    if kept is not None:
        size = table["r"].abs().groupby(table["rating"]).rank(ascending=False, method="first")
        table = table[size <= kept]
    facts = {"reliability": reliability or {}} | ({} if kept is None else {"correlation_kept_per_rating": kept})
    ratings = [f"rating {place}" for place in range(n_ratings)]
    return SimpleNamespace(correlations=table, ratings=ratings, facts=facts, dir=Path("run"))


def assigned(table, n_features):
    """Feature and rating of each row that has a feature, as places in the matrix."""
    own = table.dropna(subset="feature")
    feature = own["feature"].astype(int) + np.where(own["layer"] == 11, n_features // 2, 0)
    return feature.to_numpy(), own["rating"].str.removeprefix("rating ").astype(int).to_numpy()


@pytest.mark.parametrize("shape", [(40, 7), (12, 12), (9, 14), (200, 30)])
@pytest.mark.parametrize("seed", range(3))
def test_the_sum_of_sizes_is_the_largest_of_all(shape, seed):
    r = np.random.default_rng(seed).uniform(-1, 1, shape)
    r[:, shape[1] // 2 :] = 0.9 * r[:, [0]] + 0.1 * r[:, shape[1] // 2 :]  # many want the same features
    table = saeviz.assign(made_up(r))
    feature, rating = assigned(table, shape[0])
    assert table["rating"].tolist() == [f"rating {place}" for place in range(shape[1])]
    assert len(set(feature)) == len(feature) == min(shape)
    best = np.abs(r)[linear_sum_assignment(np.abs(r), maximize=True)].sum()
    assert np.abs(r)[feature, rating].sum() == pytest.approx(best, rel=1e-12)
    np.testing.assert_array_equal(table["r"].dropna(), r[feature, rating])
    strongest = r[np.abs(r).argmax(axis=0), np.arange(shape[1])]
    np.testing.assert_array_equal(table["strongest_r"], strongest)


def test_as_many_strongest_of_each_rating_as_there_are_ratings_are_enough():
    r = np.random.default_rng(5).uniform(-1, 1, (60, 1)) + np.random.default_rng(6).uniform(-0.01, 0.01, (60, 15))
    whole, kept = (saeviz.assign(made_up(r / 2, kept=kept)) for kept in (None, 15))
    pd.testing.assert_frame_equal(whole, kept)
    with pytest.raises(saeviz.ConfigError, match="keeps the strongest 14 features of each of its 15 ratings"):
        saeviz.assign(made_up(r / 2, kept=14))


def test_what_was_not_tested_is_not_assigned():
    r = np.full((6, 3), 0.5)
    tested = np.zeros(r.shape, bool)
    tested[:2, 0] = tested[0, 1] = True
    r[0, 0] = 0.9
    table = saeviz.assign(made_up(r, tested=tested, reliability={"rating 1": {"ceiling_r": 0.7}}))
    assert table["feature"].fillna(-1).tolist() == [1, 0, -1]
    np.testing.assert_array_equal(table["ceiling_r"], [np.nan, 0.7, np.nan])
    np.testing.assert_array_equal(table["strongest_r"], [0.9, 0.5, np.nan])


def test_a_run_has_a_table_of_it(finished_run, saeviz_command):
    run = saeviz.run(finished_run)
    done = saeviz_command("assign", run.dir)
    assert done.code == 0, done
    assert done.out == "assigned.csv\n"
    assert "2 of 2 ratings have a feature of their own" in done.err
    rows = list(csv.DictReader(Path("assigned.csv").read_text().splitlines()))
    table = saeviz.assign(run)
    assert [row["rating"] for row in rows] == run.ratings == table["rating"].tolist()
    for row, record in zip(rows, table.to_dict("records"), strict=True):
        own = run.correlations[(run.correlations[KEYS] == [record[key] for key in KEYS]).all(axis=1)]
        assert float(row["r"]) == pytest.approx(own.loc[own["rating"] == row["rating"], "r"].item())
    assert "assigned.csv already exists" in saeviz_command("assign", run.dir).err
    assert saeviz_command("assign", run.dir, "--force").code == 0


@pytest.mark.slow
def test_a_run_without_correlations_says_what_is_missing(fake_run, saeviz_command):
    run = saeviz.run(fake_run, settings=['scorers=[{ use = "monosemanticity" }]'])
    assert (
        "has no correlations to assign features by; add the scorer pearson-bh" in saeviz_command("assign", run.dir).err
    )
