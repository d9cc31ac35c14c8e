"""A feature that is named again: the label is kept by the next run, and what was judged of the old one is not shown."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import saeviz
from saeviz.config.layers import Layer
from saeviz.formats.labels import LABELS
from saeviz.formats.rundir import RunDir
from saeviz.pipeline.naming.again import name_again
from saeviz.pipeline.session import Session
from saeviz.values.errors import ConfigError, RunDirError
from tests.conftest import FAKE_RUN, FAKES


@pytest.fixture(scope="module")
def judged_once(tmp_path_factory):
    path = tmp_path_factory.mktemp("judged") / "fake.toml"
    path.write_text(f'[run]\ntop_images = 6\n[judge]\nuse = "labeler"\n{FAKE_RUN}[selector]\nlimit = 4\n')
    return saeviz.run(path)


@pytest.fixture
def judged(judged_once, tmp_path):
    import shutil

    folder = tmp_path / "judged"
    shutil.copytree(judged_once.dir, folder)
    return folder


def opened(folder):
    return saeviz.open_run(folder, plugins=[FAKES])


def session(folder):
    layer = Layer({**opened(folder).manifest["config"], "run": {"dir": str(folder), "top_images": 6}}, folder, "a test")
    prepared = saeviz.api.prepare([layer], [FAKES])
    return Session(prepared.config, prepared.manager, RunDir(folder))


def relabelled(folder, monkeypatch, label="other words"):
    """The feature that the fake labeler has named again, in these words."""
    from saeviz.testing import fakes

    feature = opened(folder).selected[0].feature
    usual = fakes.FakeLabeler.label
    monkeypatch.setattr(fakes.FakeLabeler, "label", lambda self, request: replace(usual(self, request), label=label))
    name_again(session(folder), feature)
    monkeypatch.undo()
    return feature


def test_what_was_judged_of_another_label_is_left_out(judged, monkeypatch):
    before = opened(judged)
    assert len(before.judgements) == len(before.labels)
    assert not before.judged_images.empty or before.judgements["reason"].all()
    feature = relabelled(judged, monkeypatch)
    assert before.judgement_of(feature) is not None
    run = opened(judged)
    assert run.labels[feature].label == "other words"
    assert run.judgement_of(feature) is None
    for table, earlier in ((run.judgements, before.judgements), (run.judged_images, before.judged_images)):
        of = saeviz.features_of(table)
        assert feature not in of
        assert set(saeviz.features_of(earlier)) - set(of) <= {feature}
    [line] = [one for one in LABELS.read(judged / "labels.jsonl").values() if one.feature == feature]
    assert [one.label for one in line.earlier] == [before.labels[feature].label]
    before.forget_labels()
    assert before.judgement_of(feature) is None


def test_the_next_run_keeps_it_and_has_it_judged(judged, monkeypatch):
    feature = relabelled(judged, monkeypatch)
    layer = Layer({**opened(judged).manifest["config"], "run": {"dir": str(judged), "top_images": 6}}, judged, "a test")
    run = saeviz.api.execute(saeviz.api.prepare([layer], [FAKES]), saeviz.Plan())
    assert run.labels[feature].label == "other words"
    assert run.judgement_of(feature) is not None
    assert run.manifest["stages"]["label"]["counts"]["new"] == len(run.labels)


def test_a_crash_between_label_and_manifest_loses_nothing(judged, monkeypatch):
    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("saeviz.pipeline.naming.again.write_names", crash)
    feature = opened(judged).selected[0].feature
    with pytest.raises(KeyboardInterrupt):
        name_again(session(judged), feature)
    monkeypatch.undo()
    run = opened(judged)
    assert run.labels[feature].label
    assert "finished" not in run.manifest["stages"]["label"]
    with pytest.raises(RunDirError, match="goes on with it"):
        name_again(session(judged), feature)


def test_what_cannot_be_named_is_refused(judged):
    run = opened(judged)
    other = next(f for f in map(run.spaces[0].feature, range(60)) if f not in run.labels)
    with pytest.raises(ConfigError, match="was not selected"):
        name_again(session(judged), other)
    (judged / "labels.jsonl").write_text(json.dumps({"a": 1}))
    with pytest.raises(RunDirError, match="was changed"):
        name_again(session(judged), run.selected[0].feature)
