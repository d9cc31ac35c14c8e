"""Several scorers of one kind: refused at once, or side by side under names of their own."""

from __future__ import annotations

import pytest

import saeviz
from saeviz.testing.fakes import FakeLabeler
from tests.report_data import report_of

FAKES = "module:saeviz.testing.fakes"
SIDE_BY_SIDE = """scorers=[
    {use = "pearson-bh", name = "bh", min_active = 3},
    {use = "pearson-bh", name = "maxt", correction = "max-t", permutations = 99, min_active = 3},
    {use = "pearson-bh", name = "halves", split = 0.5, min_active = 3},
    {use = "spearman", min_active = 3}]"""
SAME_COLUMN = """
import numpy as np
import saeviz

class Mine:
    def __init__(self, options, context): ...
    def score(self, data):
        yield saeviz.ScoreColumn("x", data.space, np.zeros(data.space.n_features))

@saeviz.hookimpl
def saeviz_scorers():
    yield saeviz.ScorerSpec(name="NAME", summary="x", factory=Mine, columns=COLUMNS)
"""


@pytest.fixture
def twins(tmp_path):
    """Two in-house scorers that give the same column; those of `says` tell so in advance."""

    def write(*, says: bool) -> list[str]:
        words = [FAKES]
        for name in ("one", "two"):
            path = tmp_path / f"{name}.py"
            path.write_text(SAME_COLUMN.replace("NAME", name).replace("COLUMNS", '("x",)' if says else "()"))
            words.append(str(path))
        return words

    return write


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    ("scorers", "said"),
    [
        ("{use='pearson-bh'}, {use='pearson-bh', alpha=0.1}", "scorers.0 and scorers.1 are both 'pearson-bh'"),
        ("{use='pearson-bh', name='a'}, {use='pearson-bh', name='a'}", "scorers.0 and scorers.1 are both"),
        ("{use='spearman'}, {use='pearson-bh', name='spearman'}", "would both give the column 'spearman_ci_high'"),
        ("{use='pearson-bh', name=''}", "scorers.0.name: a letter, then"),
        ("{use='pearson-bh', name='a b'}", "scorers.0.name: a letter, then"),
        ("{use='pearson-bh', name=3}", "scorers.0.name: a letter, then"),
    ],
)
def test_the_same_columns_twice_are_refused_before_anything_is_computed(
    saeviz_command, fake_run, tmp_path, command, scorers, said
):
    ended = saeviz_command(command, fake_run, "--set", f"scorers=[{scorers}]")

    assert ended.code == 2
    assert said in ended.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["check", "run"])
def test_so_are_those_of_other_plugins_that_tell_their_columns(saeviz_command, fake_run, tmp_path, twins, command):
    words = ",".join(twins(says=True))
    ended = saeviz_command(command, fake_run, "--plugins", words, "--set", "scorers=[{use='one'}, {use='two'}]")

    assert ended.code == 2
    assert "scorers.0 (one) and scorers.1 (two) would both give the column 'x'" in ended.err
    assert not (tmp_path / "runs").exists()


def test_a_column_that_was_not_told_is_refused_when_it_comes(fake_run, twins):
    with pytest.raises(saeviz.PluginError, match=r"scorers\.0 \(one\) and scorers\.1 \(two\) both gave .* name = "):
        saeviz.run(fake_run, settings=["scorers=[{use='one'}, {use='two'}]"], plugins=twins(says=False))

    run = saeviz.run(fake_run, settings=["scorers=[{use='one'}, {use='two', name='b'}]"], plugins=twins(says=False))
    assert {"x", "b_x"} <= set(run.scores)


@pytest.mark.slow
def test_bh_max_t_and_a_split_stand_side_by_side(fake_run, monkeypatch):
    asked = []
    label = FakeLabeler.label
    monkeypatch.setattr(FakeLabeler, "label", lambda self, request: (asked.append(request), label(self, request))[1])
    settings = [SIDE_BY_SIDE.replace("\n", " "), "selector.use=tiered", "selector.min_active=3"]
    run = saeviz.run(fake_run, settings=[*settings, 'reporters=[{use = "html"}]'])
    table = run.correlations

    assert saeviz.relation_prefixes(table) == ["bh_", "maxt_", "halves_", "spearman_"]
    assert {"bh_q", "maxt_q", "halves_replicated", "spearman_q"} <= set(table)
    assert not {"r", "q"} & set(table)
    assert table["bh_r"].equals(table["maxt_r"].rename("bh_r"))
    assert not table["bh_q"].equals(table["maxt_q"].rename("bh_q"))
    assert run.facts["bh_correlation_correction"] == "bh"
    assert run.facts["maxt_correlation_correction"] == "max-t"
    main = saeviz.main_relation(table)
    assert main["q"].equals(table["bh_q"].rename("q"))
    assert {"maxt_q", "halves_r_held_out"} <= set(main)
    assert any(choice.tier < 3 for choice in run.selected)
    assert any(request.relations for request in asked)
    report = report_of(run)
    measures = list(report.run["measures"].values())
    assert measures[:3] == ["Pearson's r (bh)", "Pearson's r (maxt)", "Pearson's r (halves)"]
    assert "Benjamini and Hochberg" in report.reading
    assert {"r", "maxt_q", "halves_r_held_out"} <= set(report.columns(run.ratings[0]))


@pytest.mark.slow
def test_a_name_is_read_again_from_the_manifest(fake_run):
    settings = ["scorers=[{use='pearson-bh', name='bh'}]"]
    first = saeviz.run(fake_run, settings=settings)

    assert first.manifest["config"]["scorers"][0]["name"] == "bh"
    assert saeviz.run(fake_run, settings=settings).correlations.equals(first.correlations)
    assert "name" not in saeviz.run(fake_run).manifest["config"]["scorers"][0]


def test_columns_of_a_longer_name_are_not_taken_for_those_of_a_shorter_one():
    import pandas as pd

    table = pd.DataFrame({"rating": ["x"], "a_r": [0.1], "a_p": [0.2], "a_b_r": [0.3], "a_b_p": [0.4]})

    assert list(saeviz.main_relation(table)) == ["rating", "r", "p", "a_b_r", "a_b_p"]
