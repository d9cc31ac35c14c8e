"""A run directory that the first version wrote is read: its tables have no names of SAEs."""

from __future__ import annotations

from shutil import copytree

import pytest

import saeviz
from saeviz import Feature, FeatureSpace
from saeviz.formats.rundir import digest_of, digest_of_all
from tests.conftest import FAKES, ROOT

SPACES = [FeatureSpace(layer, tokens, 12) for layer in (1, 2) for tokens in ("cls", "patch-max")]


@pytest.fixture
def run(tmp_path):
    """A copy, opened."""
    copytree(ROOT / "tests" / "data" / "run_of_the_first_version", tmp_path / "old")
    return saeviz.open_run(tmp_path / "old", plugins=[FAKES])


def test_its_tables_are_about_the_same_features(run):
    assert run.spaces == SPACES
    assert list(run.scores)[:4] == saeviz.KEYS
    assert saeviz.features_of(run.scores) == [space.feature(index) for space in SPACES for index in range(12)]
    assert len(run.correlations) == 2 * len(run.scores)
    assert set(run.judgements["sae"]) == {""}
    assert run.images_table.shape == (24, 0), "it has no numbers of images"


def test_its_selection_labels_and_judgements_belong_together(run):
    chosen = [choice.feature for choice in run.selected]
    assert chosen[0] == Feature(2, "patch-max", 11)
    assert set(run.labels) == set(chosen)
    assert run.labels[chosen[0]].label == "violet things"
    assert saeviz.features_of(run.judgements) == chosen
    assert run.judgement_of(chosen[0])["label"] == "violet things"


def test_one_feature_is_looked_up_and_its_images_are_found(run):
    feature = run.selected[0].feature
    top = run.top_images(feature)
    assert len(top) == 13
    assert top[0].activation == pytest.approx(run.scores_of(feature)["max"])
    assert [one["rating"] for one in run.correlations_of(feature)] == ["warmth", "noise"]
    column = run.features(feature.space_name).matrix[:, [feature.index]].toarray()
    assert (column > 0).sum() == run.scores_of(feature)["n_active"] == 13


def test_the_command_shows_it(run, saeviz_command):
    shown = saeviz_command("show", "layer2.patch-max/11", "--run", run.dir)
    assert "layer2.patch-max/11" in shown.out
    assert "violet things" in shown.out


FIRST = ROOT / "tests" / "data" / "first_release"
"""A run directory of the oldest commit that runs the whole pipeline, and its fakes as a plugin file of that time."""


def test_a_run_of_the_first_release_is_opened():
    run = saeviz.open_run(FIRST / "run", plugins=[FAKES])
    assert [str(space) for space in run.spaces] == ["layer1.cls", "layer2.cls"]
    assert (len(run.scores), len(run.correlations), len(run.items)) == (64, 128, 24)
    assert run.name("layer2.cls/24") == "violet things"
    top = run.top_images("layer2.cls/24")[0]
    column = run.features("layer2.cls").matrix[:, [24]].toarray()
    assert (top.item.item_id, top.activation) == ("picture/7", pytest.approx(column.max()))


def test_a_plugin_of_the_first_release_runs(tmp_path):
    roles = ("images", "extractor", "store", "embeddings", "selector", "labeler")
    tables = [f'[{role}]\nuse = "fake-{role}"' for role in roles]
    tables += [f'[[{role}s]]\nuse = "fake-{role}"' for role in ("scorer", "reporter")]
    (tmp_path / "fake.toml").write_text("\n".join(tables))
    run = saeviz.run(tmp_path / "fake.toml", plugins=[str(FIRST / "plugin.py")])
    assert run.scores["coverage"].between(0, 1).all()
    assert len(run.labels) == len(run.selected) > 0


@pytest.mark.parametrize("values", [[], [1], [{"b": 1.5, "a": [None, "é"]}, "x", []]])
def test_a_digest_of_values_one_by_one_is_that_of_their_list(values):
    assert digest_of_all(iter(values)) == digest_of(values)
