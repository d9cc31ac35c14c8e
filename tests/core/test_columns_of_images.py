"""Columns of `images.parquet` held constant, and correlated with."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats

import saeviz

ERROR = "extractor.reconstruction_error=true"
PREDICTION = '{use="prediction", folds=3, raw_model=false}'


def scored(run_file, *scorers, also=()):
    return saeviz.run(run_file, settings=["images.n=48", ERROR, f"scorers=[{', '.join(scorers)}]", *also])


def brute_force(run, space, target, controls):
    """Partial r of every feature by least squares."""
    table = run.images_table.copy()
    table[list(run.ratings_table)] = run.ratings_table
    x = run.features(space).matrix.toarray().astype(float)
    known = table[[target, *controls]].notna().all(axis=1).to_numpy()
    design = np.column_stack([np.ones(known.sum()), table.loc[known, controls]])
    left = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (x[known], table.loc[known, target])]
    return np.array([np.nan if np.ptp(one) < 1e-9 else stats.pearsonr(one, left[1])[0] for one in left[0].T])


def test_numbers_of_images_can_be_held_constant(fake_run):
    names = ["l0.layer1.cls", "reconstruction_error.layer2.cls"]
    run = scored(fake_run, f'{{use="partial", controls={names}}}'.replace("'", '"'))
    for space in run.spaces:
        found = saeviz.rows_in(run.correlations, space)
        found = found[found["rating"] == "warmth"].set_index("feature")["partial_r"]
        expected = brute_force(run, space, "warmth", names)
        both = found.notna().to_numpy() & np.isfinite(expected)
        assert both.sum() > 5
        np.testing.assert_allclose(found[both], expected[both], atol=1e-6)
    assert run.facts["partial_control"] == [f"{name} (number)" for name in names]


@pytest.mark.slow
def test_what_an_earlier_scorer_leaves_of_a_rating_is_a_target(fake_run):
    ratings = ["warmth", "residual.warmth", "l0.layer1.cls"]
    pearson = f'{{use="pearson-bh", ratings={ratings}}}'.replace("'", '"')
    control = '{use="partial", controls=["predicted.noise"]}'
    run = scored(fake_run, PREDICTION, pearson, control)
    assert run.ratings == ["warmth", "noise", "residual.warmth", "l0.layer1.cls"]
    target = run.ratings_table["residual.warmth"]
    assert target.dropna().to_dict() == run.images_table["residual.warmth"].dropna().to_dict()
    space = run.spaces[0]
    table = saeviz.rows_in(run.correlations, space)
    found = table[table["rating"] == "residual.warmth"].set_index("feature")["r"]
    np.testing.assert_allclose(found.dropna(), brute_force(run, space, "residual.warmth", [])[found.notna()], atol=1e-6)
    assert run.manifest["stages"]["score"]["counts"]["rated"]["residual.warmth"] == 48
    assert "partial_r" in table
    compared = saeviz.compare(run, run)
    assert "residual.warmth" in set(compared.tables["relations"]["rating"])


@pytest.mark.parametrize(
    ("scorers", "message"),
    [
        (
            ['{use="partial", controls=["l0.layer3.cls"]}'],
            "no rating, metadata or column 'l0.layer3.cls'; did you mean",
        ),
        (['{use="pearson-bh", ratings=["residual.warmth"]}'], "the images have no rating 'residual.warmth'"),
        (
            ['{use="partial", controls=["predicted.warmth"]}', PREDICTION],
            r"scorers\.1 \(prediction\) gives it, and scorers run in the order of the run file",
        ),
        (
            [PREDICTION.replace("{", '{name="a", '), '{use="partial", controls=["predicted.warmth"]}'],
            "'predicted.warmth'; did you mean 'a_predicted.warmth'",
        ),
    ],
)
def test_names_that_are_not_there_yet_are_refused(fake_run, saeviz_command, scorers, message):
    ended = saeviz_command("check", fake_run, "--set", f"scorers=[{', '.join(scorers)}]")
    assert ended.code == saeviz.ExitCode.USAGE
    assert re.search(message, ended.err)


@pytest.mark.slow
def test_a_scorer_sees_only_what_is_there_when_it_begins(fake_run):
    run = scored(
        fake_run, '{use="pearson-bh"}', '{use="partial", name="own", controls=["reconstruction_error.layer1.cls"]}'
    )
    assert "own_partial_r" in run.correlations
    assert run.ratings == ["warmth", "noise"]


def test_an_extractor_that_cannot_be_made_is_named_before_its_columns(fake_run, saeviz_command):
    settings = ["extractor.use=vit-sae", "extractor.model=not-there", "extractor.saes={2='not-there'}"]
    scorer = 'scorers=[{use="partial", control=["l0.layer2.cls"]}]'
    ended = saeviz_command("check", fake_run, *(f"--set={one}" for one in (*settings, scorer)))
    assert ended.code != 0
    assert "not-there" in ended.err
    assert "has no rating" not in ended.err
    assert "have no rating" not in ended.err
