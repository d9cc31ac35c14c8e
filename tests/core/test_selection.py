"""`selected.csv`: what speaks for each feature, and its label once there is one."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import saeviz
from saeviz.pipeline.run import Plan


def read(run):
    return pd.read_csv(run.dir / "selected.csv", keep_default_na=False)


def test_each_feature_has_its_rating_the_figures_of_its_correlation_and_its_label(finished_run):
    run = saeviz.run(finished_run)
    table = read(run)

    assert list(table)[:8] == [*saeviz.KEYS, "tier", "label", "rating", "measure"]
    assert {"r", "ci_low", "ci_high", "q", "reason"} <= set(table)
    assert "r_held_out" not in table
    keys = [*saeviz.KEYS, "rating"]
    related = table[table["rating"] != ""]
    assert len(related)
    assert set(related["measure"]) == {"Pearson's r"}
    known = run.correlations.set_index(keys)
    for row in related.itertuples():
        expected = known.loc[row.sae, row.layer, row.tokens, row.feature, row.rating]
        for name in ("r", "ci_low", "ci_high", "q"):
            assert float(getattr(row, name)) == pytest.approx(expected[name], rel=1e-5)
    labels = {str(feature): label.label for feature, label in run.labels.items()}
    written = {f"layer{row.layer}.{row.tokens}/{row.feature}": row.label for row in table.itertuples()}
    assert any(written.values())
    assert written == {feature: labels.get(feature, "") for feature in written}


def test_the_interval_of_a_rare_feature_has_its_caveat(finished_run):
    run = saeviz.run(finished_run)
    related = read(run).query("rating != ''")
    n_active = run.correlations.set_index([*saeviz.KEYS, "rating"])["n_active"]

    assert len(related)
    for row in related.itertuples():
        is_rare = n_active[row.sae, row.layer, row.tokens, row.feature, row.rating] < 50
        assert ("87 to 92 %" in row.caveat) == is_rare


def test_with_robust_errors_the_caveat_is_that_of_their_intervals(finished_run):
    table = read(saeviz.run(finished_run, settings=["scorers.1.errors=hc2"]))
    caveats = set(table.loc[table["rating"] != "", "caveat"])
    assert len(caveats - {""}) == 1
    assert all("a little too narrow if r is 0.3 or more" in caveat for caveat in caveats - {""})


def test_held_out_figures_are_there_where_images_were_held_out(fake_run):
    run = saeviz.run(fake_run, settings=["scorers.1.split=0.5"])
    table = read(run)
    related = table[table["r_held_out"] != ""]

    assert {"r_held_out", "ci_low_held_out", "ci_high_held_out"} <= set(table)
    assert len(related)
    known = run.correlations.set_index([*saeviz.KEYS, "rating"])["r_held_out"]
    for row in related.itertuples():
        expected = known[row.sae, row.layer, row.tokens, row.feature, row.rating]
        assert float(row.r_held_out) == pytest.approx(expected, rel=1e-5)


def test_names_go_and_come_with_the_labeler_and_selecting_again_keeps_them(finished_run):
    before = read(saeviz.run(finished_run))
    assert read(saeviz.run(finished_run, plan=Plan(redo=("select",)))).equals(before)
    assert set(read(saeviz.run(finished_run, settings=["labeler.use=none"]))["label"]) == {""}
    assert read(saeviz.run(finished_run)).equals(before)


def test_a_file_of_an_earlier_version_is_still_read(finished_run):
    run = saeviz.run(finished_run)
    table = read(run)
    table[["layer", "tokens", "feature", "tier", "reason"]].to_csv(run.dir / "selected.csv", index=False)
    manifest = json.loads((run.dir / "run.json").read_text())
    for record in manifest["stages"].values():
        record.pop("sha256", None)
    (run.dir / "run.json").write_text(json.dumps(manifest))
    older = saeviz.open_run(run.dir).selected

    assert [choice.feature for choice in older] == [choice.feature for choice in run.selected]
    assert {choice.rating for choice in older} == {None}


def test_ratings_and_metadata_of_a_run_are_tables_with_a_row_per_image(finished_run):
    run = saeviz.run(finished_run)
    ids = [item.item_id for item in run.items]

    for table in (run.ratings_table, run.metadata, run.split.to_frame()):
        assert table.index.name == "item_id"
        assert list(table.index) == ids
    assert list(run.ratings_table) == run.ratings
    for item in run.items:
        assert run.ratings_table.loc[item.item_id].dropna().to_dict() == dict(item.ratings)
        assert {name: text for name, text in run.metadata.loc[item.item_id].items() if text} == {
            name: text for name, text in item.metadata.items() if text
        }
    assert list(run.individual_ratings) == ["item_id", "rating", "rater", "value"]
    assert set(run.split) == {"found"}


@pytest.mark.slow
def test_the_half_of_each_image_gives_the_correlations_of_that_half(fake_run):
    run = saeviz.run(fake_run, settings=["scorers.1.split=0.5"])
    assert set(run.split) == {"found", "held out"}
    space = run.spaces[0]
    features = pd.DataFrame(run.features(space).matrix.toarray(), index=run.features(space).item_ids)
    rating = run.ratings[0]
    table = run.correlations[(run.correlations["layer"] == space.layer) & (run.correlations["rating"] == rating)]
    for half, name in (("found", "r"), ("held out", "r_held_out")):
        ids = run.split.index[run.split == half]
        expected = features.loc[ids].corrwith(run.ratings_table.loc[ids, rating])
        some = table.set_index("feature")[name].dropna()
        assert len(some)
        assert some.to_numpy() == pytest.approx(expected[some.index].to_numpy(), abs=1e-5)


@pytest.mark.slow
def test_what_counts_can_be_required_in_the_run_file_and_by_its_old_name(fake_run, caplog):
    held = saeviz.run(
        fake_run,
        settings=[
            "scorers.1.split=0.5",
            "scorers.1.alpha=0.9",
            "scorers.1.min_active=2",
            'selector.require="replicated"',
        ],
    )
    related = [choice for choice in held.selected if choice.rating]
    known = held.correlations.set_index([*saeviz.KEYS, "rating"])["replicated"]
    assert related
    for choice in related:
        feature = choice.feature
        assert known[feature.sae, feature.layer, feature.tokens, feature.index, choice.rating] == 1

    older = saeviz.run(fake_run, settings=["selector.require_significant=true"])
    assert 'require = "significant"' in caplog.text
    assert older.manifest["config"]["selector"]["require"] == "significant"
    with pytest.raises(saeviz.ConfigError, match=r"selector: tiered needs the column '\*replicated'.*split"):
        saeviz.run(fake_run, settings=['selector.require="replicated"'])


def test_a_selection_of_nothing_is_a_warning_with_the_next_step(fake_run, caplog):
    run = saeviz.run(fake_run, settings=["selector.use='tiered'", "selector.min_active=1000"])
    assert run.selected == []
    assert "no feature was selected; `saeviz plugins selector:tiered` lists what it requires" in caplog.text


def test_a_run_says_where_its_tiers_begin(finished_run):
    run = saeviz.run(finished_run)
    assert [cutoff[2:] for cutoff in run.tier_cutoffs] == [(0.25, False), (0.15, True)]


@pytest.mark.parametrize("damage", [None, "x", [[1, 0.5]], [[1, "a", 0.2, False]], [[True, 0.5, 0.2, False]], [1], {}])
def test_cut_offs_in_another_form_are_none(finished_run, damage):
    run = saeviz.run(finished_run)
    manifest = json.loads((run.dir / "run.json").read_text())
    manifest["stages"]["select"]["facts"]["tier_cutoffs"] = damage
    (run.dir / "run.json").write_text(json.dumps(manifest))
    assert saeviz.open_run(run.dir).tier_cutoffs == []
