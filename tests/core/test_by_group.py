"""r of a feature in each group of images, against SciPy."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import saeviz
from saeviz import ConfigError


def made_up(groups):
    generator = np.random.default_rng(0)
    n = len(groups)
    activations = np.maximum(generator.normal(size=n), 0)
    ratings = activations + generator.normal(size=n)
    ratings[::7] = np.nan
    return SimpleNamespace(
        ratings=["mood"],
        ratings_table=pd.DataFrame({"mood": ratings}),
        activations=lambda _feature: activations,
        items=[SimpleNamespace(group=name) for name in groups],
        metadata=pd.DataFrame({"kind": ["even" if number % 2 == 0 else "" for number in range(n)]}),
        dir=Path("run"),
    )


def test_every_group_has_its_r_with_the_interval_of_scipy():
    groups = ["few"] * 3 + ["many"] * 60 + ["some"] * 20 + [None] * 10
    run = made_up(groups)
    table = saeviz.by_group(run, "layer7.cls/3", "mood")
    assert table["group"].tolist() == ["many", "some", "few"]
    for row in table.iloc[:2].itertuples():
        own = np.array([name == row.group for name in groups]) & run.ratings_table["mood"].notna().to_numpy()
        x, y = run.activations("")[own], run.ratings_table["mood"][own]
        expected = stats.pearsonr(x, y)
        assert (row.n, row.n_active) == (own.sum(), (x > 0).sum())
        assert row.r == pytest.approx(expected.statistic, rel=1e-9)
        assert (row.ci_low, row.ci_high) == pytest.approx(tuple(expected.confidence_interval()), rel=1e-9)
    assert table.iloc[2][["ci_low", "ci_high"]].isna().all()


def test_a_column_may_say_the_groups_and_what_is_missing_is_told():
    run = made_up([None] * 40)
    table = saeviz.by_group(run, "layer7.cls/3", "mood", column="kind")
    assert table["group"].tolist() == ["even"]
    with pytest.raises(ConfigError, match="images of run have no groups; name a column"):
        saeviz.by_group(run, "layer7.cls/3", "mood")
    with pytest.raises(ConfigError, match="no column 'sort'; it has kind"):
        saeviz.by_group(run, "layer7.cls/3", "mood", column="sort")
    with pytest.raises(ConfigError, match="no rating 'beauty'; it has mood"):
        saeviz.by_group(run, "layer7.cls/3", "beauty")
    run.ratings = []
    with pytest.raises(ConfigError, match="no rating 'mood'; it has none"):
        saeviz.by_group(run, "layer7.cls/3", "mood")


def test_over_all_images_it_is_the_r_of_the_run(finished_copy):
    run = finished_copy
    row = run.correlations.dropna(subset=["r"]).iloc[0].to_dict()
    run.metadata["all"] = "images"
    [table] = saeviz.by_group(run, saeviz.feature_of(row), row["rating"], column="all").to_dict("records")
    assert (table["n"], table["n_active"]) == (row["n"], row["n_active"])
    assert (table["r"], table["ci_low"]) == pytest.approx((row["r"], row["ci_low"]), rel=1e-6)
