"""Scores of some features only: correlations of which a table keeps the strongest."""

from __future__ import annotations

import numpy as np
import pytest

import saeviz
from saeviz import FeatureSpace, ScoreColumn

SPACE = FeatureSpace(7, "cls", 4)

PLUGIN = """
import numpy as np
import saeviz

class Some:
    def __init__(self, options, context): pass
    def score(self, data):
        for target, features in {"warmth": [1, 3], "noise": [0]}.items():
            values = 10.0 * np.array(features)
            yield saeviz.ScoreColumn("x", data.space, values, target, features)
            yield saeviz.ScoreColumn("word", data.space, np.full(len(features), "yes"), target, features)
        yield saeviz.ScoreColumn("y", data.space, [5, 6], "warmth", [3, 4])

class All:
    def __init__(self, options, context): pass
    def score(self, data):
        yield saeviz.ScoreColumn("z", data.space, np.arange(data.space.n_features), "noise")

@saeviz.hookimpl
def saeviz_scorers():
    yield saeviz.ScorerSpec(name="some", summary="of some features", factory=Some)
    yield saeviz.ScorerSpec(name="all", summary="of all features", factory=All)
"""


def run_with(fake_run, tmp_path, *scorers):
    (tmp_path / "mine.py").write_text(PLUGIN)
    tables = ", ".join(f'{{ use = "{name}" }}' for name in scorers)
    words = ["module:saeviz.testing.fakes", str(tmp_path / "mine.py")]
    return saeviz.run(fake_run, settings=[f"scorers=[{tables}]"], plugins=words)


def test_the_table_has_rows_of_the_features_that_any_column_is_of(fake_run, tmp_path):
    run = run_with(fake_run, tmp_path, "some")
    table = run.correlations
    own = table[table["layer"] == run.spaces[0].layer]
    own = own[own["tokens"] == run.spaces[0].tokens]
    warm = own[own["rating"] == "warmth"]
    assert warm["feature"].tolist() == [1, 3, 4]
    np.testing.assert_array_equal(warm["x"], [10, 30, np.nan])
    np.testing.assert_array_equal(warm["y"], [np.nan, 5, 6])
    assert warm["word"].tolist() == ["yes", "yes", ""]
    assert own.loc[own["rating"] == "noise", "feature"].tolist() == [0]
    assert {row["rating"] for row in run.correlations_of(f"{run.spaces[0]}/0")} == {"noise"}
    assert run.correlations_of(f"{run.spaces[0]}/2") == []


def test_beside_a_score_of_all_features_others_lack_it(fake_run, tmp_path):
    run = run_with(fake_run, tmp_path, "some", "all")
    table = run.correlations
    noise = table[table["rating"] == "noise"]
    assert len(noise) == sum(space.n_features for space in run.spaces)
    assert noise["x"].notna().sum() == len(run.spaces)
    assert (noise["z"] == noise["feature"]).all()


@pytest.mark.parametrize(
    ("values", "target", "features", "message"),
    [
        ([1.0], None, [2], "only a score with a target may be of some features"),
        ([1.0, 2.0], "warmth", [2, 2], "features must be increasing whole numbers"),
        ([1.0], "warmth", [0.5], "features must be increasing whole numbers"),
        ([1.0], "warmth", [4], "features must be from 0 to 3"),
        ([1.0], "warmth", [-1], "features must be from 0 to 3"),
        ([1.0], "warmth", [1, 2], r"shape \(1,\), not \(2,\)"),
    ],
)
def test_features_are_those_of_the_space_each_once(values, target, features, message):
    with pytest.raises(saeviz.DataError, match=f"score 's' of layer7.cls: {message}"):
        ScoreColumn("s", SPACE, values, target, features)


def test_the_features_of_a_column_cannot_change_later():
    features = np.array([1, 2])
    column = ScoreColumn("s", SPACE, [1.0, 2.0], "warmth", features)
    features[0] = 0
    assert column.features.tolist() == [1, 2]
