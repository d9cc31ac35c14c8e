"""`selected.csv`: what speaks for each feature, and its label once there is one."""

from __future__ import annotations

import pandas as pd
import pytest

import saeviz
from saeviz.pipeline import Plan


def read(run):
    return pd.read_csv(run.dir / "selected.csv", keep_default_na=False)


def test_each_feature_has_its_rating_the_figures_of_its_correlation_and_its_label(fake_run):
    run = saeviz.run(fake_run)
    table = read(run)

    assert list(table)[:7] == ["layer", "tokens", "feature", "tier", "label", "rating", "measure"]
    assert {"r", "ci_low", "ci_high", "q", "reason"} <= set(table)
    assert "r_held_out" not in table
    keys = ["layer", "tokens", "feature", "rating"]
    related = table[table["rating"] != ""]
    assert len(related)
    assert set(related["measure"]) == {"Pearson's r"}
    known = run.correlations.set_index(keys)
    for row in related.itertuples():
        expected = known.loc[row.layer, row.tokens, row.feature, row.rating]
        for name in ("r", "ci_low", "ci_high", "q"):
            assert float(getattr(row, name)) == pytest.approx(expected[name], rel=1e-5)
    labels = {str(feature): label.label for feature, label in run.labels.items()}
    written = {f"layer{row.layer}.{row.tokens}/{row.feature}": row.label for row in table.itertuples()}
    assert any(written.values())
    assert written == {feature: labels.get(feature, "") for feature in written}


def test_held_out_figures_are_there_where_images_were_held_out(fake_run):
    run = saeviz.run(fake_run, settings=["scorers.1.split=0.5"])
    table = read(run)
    related = table[table["r_held_out"] != ""]

    assert {"r_held_out", "ci_low_held_out", "ci_high_held_out"} <= set(table)
    assert len(related)
    known = run.correlations.set_index(["layer", "tokens", "feature", "rating"])["r_held_out"]
    for row in related.itertuples():
        expected = known[row.layer, row.tokens, row.feature, row.rating]
        assert float(row.r_held_out) == pytest.approx(expected, rel=1e-5)


def test_names_go_and_come_with_the_labeler_and_selecting_again_keeps_them(fake_run):
    before = read(saeviz.run(fake_run))
    assert read(saeviz.run(fake_run, plan=Plan(redo=("select",)))).equals(before)
    assert set(read(saeviz.run(fake_run, settings=["labeler.use=none"]))["label"]) == {""}
    assert read(saeviz.run(fake_run)).equals(before)


def test_a_file_of_an_earlier_version_is_still_read(fake_run):
    run = saeviz.run(fake_run)
    table = read(run)
    table[["layer", "tokens", "feature", "tier", "reason"]].to_csv(run.dir / "selected.csv", index=False)
    older = saeviz.open_run(run.dir).selected

    assert [choice.feature for choice in older] == [choice.feature for choice in run.selected]
    assert {choice.rating for choice in older} == {None}
