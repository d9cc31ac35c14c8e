"""A run with a second embedding: a stage of its own, given to the scorers beside the first."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

import saeviz
from saeviz import ConfigError
from saeviz.pipeline.run import Plan
from saeviz.testing.fakes import FakeEmbeddings
from tests.conftest import FAKES

SECOND = "second_embeddings.use=fake-embeddings"
OTHER_OPTION = "second_embeddings.seconds_per_item=0.0001"


@pytest.fixture
def embedded(monkeypatch) -> list[Path]:
    """Per image that is embedded, the folder of the provider that did it; the second one's embeddings differ."""
    seen: list[Path] = []
    original = FakeEmbeddings.embed

    def embed(self, items):
        seen.extend([self.context.workdir.name] * len(items))
        vectors = original(self, items)
        return vectors**2 if self.context.workdir.name == "second_embeddings" else vectors

    monkeypatch.setattr(FakeEmbeddings, "embed", embed)
    return seen


def test_its_scores_and_the_agreement_are_part_of_the_results(fake_run, embedded):
    run = saeviz.run(fake_run, settings=[SECOND])

    assert list(run.manifest["stages"])[:4] == ["extract", "embed", "embed-second", "score"]
    assert run.manifest["stages"]["embed-second"]["counts"]["embedded"] == 24
    both = run.scores[["monosemanticity", "monosemanticity_2"]].dropna()
    assert len(both) == run.facts["monosemanticity_agreement_features"] > 0
    assert run.facts["monosemanticity_agreement_spearman"] == pytest.approx(both.corr("spearman").iloc[0, 1])
    assert not np.allclose(both["monosemanticity"], both["monosemanticity_2"])


def test_without_one_nothing_speaks_of_it(finished_run):
    run = saeviz.run(finished_run)

    assert "embed-second" not in run.manifest["stages"]
    assert not [name for name in run.scores if name.endswith("_2")]
    assert not (run.dir / "second_embeddings").exists()


@pytest.mark.slow
def test_adding_changing_or_removing_it_leaves_the_first_as_it_is(fake_run, embedded):
    alone = saeviz.run(fake_run).scores
    assert embedded == ["embeddings"] * 24
    saeviz.run(fake_run, settings=[SECOND])
    saeviz.run(fake_run, settings=[SECOND])
    assert embedded == ["embeddings"] * 24 + ["second_embeddings"] * 24
    saeviz.run(fake_run, settings=[SECOND, OTHER_OPTION])
    assert embedded == ["embeddings"] * 24 + ["second_embeddings"] * 48
    again = saeviz.run(fake_run).scores
    assert len(embedded) == 72
    assert again.equals(alone)


@pytest.mark.slow
def test_one_that_comes_back_changed_is_made_anew(fake_run, embedded):
    for settings in ([SECOND], [], [SECOND, OTHER_OPTION]):
        run = saeviz.run(fake_run, settings=settings)
    assert embedded.count("second_embeddings") == 48
    assert run.manifest["stages"]["embed-second"]["counts"]["embedded"] == 24


@pytest.mark.slow
def test_changing_the_first_leaves_the_second_as_it_is(fake_run, embedded):
    saeviz.run(fake_run, settings=[SECOND])
    saeviz.run(fake_run, settings=[SECOND, "embeddings.seconds_per_item=0.0001"])
    assert (embedded.count("embeddings"), embedded.count("second_embeddings")) == (48, 24)


@pytest.mark.slow
def test_its_stage_can_be_asked_for(fake_run, embedded):
    saeviz.run(fake_run, settings=[SECOND], plan=Plan(last="embed"))
    assert set(embedded) == {"embeddings"}
    saeviz.run(fake_run, settings=[SECOND], plan=Plan(first="embed-second", last="embed-second"))
    saeviz.run(fake_run, settings=[SECOND], plan=Plan(redo=("embed-second",)))
    assert (embedded.count("embeddings"), embedded.count("second_embeddings")) == (24, 48)


def test_scoring_does_not_begin_without_it(finished_run, embedded):
    saeviz.run(finished_run, plan=Plan(last="score"))
    with pytest.raises(ConfigError, match="--from score: the stage embed-second is not finished"):
        saeviz.run(finished_run, settings=[SECOND], plan=Plan(first="score"))


@pytest.mark.slow
def test_an_image_that_it_could_not_read_is_forgotten_with_it(fake_run, monkeypatch):
    original = FakeEmbeddings.embed

    def embed(self, items):
        vectors = original(self, items)
        if self.context.workdir.name == "second_embeddings":
            self.context.failed(items[0].item_id, "too blue")
            vectors[0] = np.nan
        return vectors

    monkeypatch.setattr(FakeEmbeddings, "embed", embed)
    run = saeviz.run(fake_run, settings=[SECOND])
    assert [failure.stage for failure in run.failures] == ["embed-second"]
    assert run.facts["monosemanticity_second_images"] == 23
    assert saeviz.run(fake_run).failures == []


@pytest.mark.slow
def test_the_manifest_opens_the_run_again(fake_run):
    directory = saeviz.run(fake_run, settings=[SECOND]).dir
    config = json.loads((directory / "run.json").read_text())["config"]
    assert config["second_embeddings"] == {"use": "fake-embeddings", "seconds_per_item": 0.0}
    assert len(saeviz.open_run(directory, plugins=[FAKES]).items) == 24


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["embeddings.use=none", SECOND, 'scorers=[{use="pearson-bh"}]'],
            r"second_embeddings: needs a first embedding",
        ),
        (["second_embeddings.seconds_per_item=1"], r'second_embeddings: name a component, for example use = "'),
        (["second_embeddings.use=fake-embedings"], r"second_embeddings.*did you mean 'fake-embeddings'"),
        ([SECOND, "second_embeddings.second_per_item=1"], r"second_embeddings\.second_per_item"),
    ],
)
def test_mistakes_name_the_table(fake_run, settings, message):
    with pytest.raises(ConfigError, match=message):
        saeviz.run(fake_run, settings=settings)


def test_a_provider_of_the_wrong_shape_is_named(fake_run, monkeypatch):
    monkeypatch.setattr(FakeEmbeddings, "embed", lambda self, items: np.zeros((len(items), 3), np.float32))
    with pytest.raises(saeviz.PluginError, match=r"embeddings: fake-embeddings of .* returned an array of shape"):
        saeviz.run(fake_run, settings=[SECOND])


def test_a_new_run_file_shows_how(saeviz_command):
    saeviz_command("init", "new.toml")
    text = Path("new.toml").read_text()
    assert '# [second_embeddings]\n# use = "timm"' in text
    asked_for = text.replace('# [second_embeddings]\n# use = "timm"', '[second_embeddings]\nuse = "timm"')
    assert tomllib.loads(asked_for)["second_embeddings"] == {"use": "timm"}


@pytest.mark.parametrize("use", [pytest.param("timm", marks=pytest.mark.slow), "dinov2"])
def test_a_model_that_cannot_be_had_is_blamed_on_its_own_table(use):
    pytest.importorskip("torch")
    context = saeviz.Context(offline=True, place="second_embeddings")
    embedder = saeviz.component("embeddings", use, context=context, model="nobody/no-such-model")

    with pytest.raises(saeviz.SaevizError, match=r"^second_embeddings\.model"):
        _ = embedder.dim
