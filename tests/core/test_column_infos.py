"""Columns say what they mean: in the tables, to whoever shows them, and to a component that needs one."""

from __future__ import annotations

import sys

import pandas as pd
import pytest

import saeviz
from saeviz.testing.data import score_table
from tests.conftest import FAKES

PLUGIN = """
from dataclasses import replace
import numpy as np
import saeviz
from saeviz.testing import fakes


class Silence:
    def __init__(self, options, context): ...
    def score(self, data):
        yield saeviz.ScoreColumn("silence", data.space, np.arange(data.space.n_features) / 2)
        yield saeviz.ImageColumn("quiet.calm", np.zeros(data.n_items)) if data.space.layer == 1 else \\
            saeviz.ScoreFact("done", 1)
        loudness = np.ones((len(data.ratings), data.space.n_features))
        yield saeviz.PairBlock("silence", data.space, tuple(data.ratings), {"loudness": loudness})
        EXTRA


class Noisy(fakes.FakeExtractor):
    def numbers_of_images(self, space):
        return ["noise"]
    def extract(self, items):
        for batch in super().extract(items):
            yield replace(batch, of_images={"noise": np.ones(len(batch))})


class Options(saeviz.Options):
    column: str = "silence"
    def needed_columns(self):
        yield self.column


class Lowest:
    def __init__(self, options, context):
        self.options = options
    def select(self, table, limit=None):
        lowest_first = table.info(self.options.column).better == "lower"
        rows = table.scores.sort_values(self.options.column, ascending=lowest_first, kind="stable")
        return [saeviz.Selected(one, 1, "so") for one in saeviz.features_of(rows.head(2))]
    def write(self, run):
        path = run.dir / "words.txt"
        path.write_text(run.columns["scores"]["silence"].words)
        return path


@saeviz.hookimpl
def saeviz_scorers():
    yield saeviz.ScorerSpec(name="silence", summary="s", factory=Silence, columns=COLUMNS,
        pair_columns=(saeviz.ColumnInfo("loudness", "how loud it is said", "dB", "higher"),))


@saeviz.hookimpl
def saeviz_feature_extractors():
    yield saeviz.FeatureExtractorSpec(name="noisy", summary="s", factory=Noisy, options=fakes.FakeExtractorOptions,
        columns=(saeviz.ColumnInfo("noise", "how noisy it is", "dB", "lower"),))


@saeviz.hookimpl
def saeviz_selectors():
    yield saeviz.SelectorSpec(name="lowest", summary="s", factory=Lowest, options=Options)


@saeviz.hookimpl
def saeviz_reporters():
    yield saeviz.ReporterSpec(name="words", summary="s", factory=Lowest, options=Options)
"""
COLUMNS = """(
    saeviz.ColumnInfo("silence", "how little is said of it", "dB", "lower"),
    saeviz.ColumnInfo("quiet.*", "how quiet the image is"), saeviz.ColumnInfo("loud", "how loud it is", option="loud"))
"""
LOWEST = ["selector.use=lowest"]
SILENT = 'scorers=[{use="fake-scorer"}, {use="silence"}]'


@pytest.fixture
def run(fake_run):
    """Runs with the plugin above; `columns` is what its scorer declares, `extra` another line of it."""

    def go(*settings, columns=COLUMNS, extra="", until="report"):
        path = fake_run.parent / "silent.py"
        path.write_text(PLUGIN.replace("COLUMNS", columns).replace("EXTRA", extra))
        plan = saeviz.pipeline.run.Plan(last=until)
        return saeviz.run(fake_run, settings=settings, plugins=[FAKES, str(path)], plan=plan)

    return go


def test_a_column_of_a_third_party_is_described_wherever_it_is_shown(run, saeviz_command):
    done = run(SILENT, *LOWEST, 'reporters=[{use="words"}]', "extractor.use=noisy")
    assert done.columns["scores"]["silence"] == saeviz.ColumnInfo("silence", "how little is said of it", "dB", "lower")
    assert done.columns["scores"]["n_active"].unit == "images"
    assert done.columns["correlations"]["r"].description.startswith("Pearson's r")
    assert done.columns["images_table"]["quiet.calm"].words == "how quiet the image is"
    assert (done.dir / "words.txt").read_text() == "how little is said of it [dB]; lower is better"
    assert done.columns["pairs"]["loudness"] == saeviz.ColumnInfo("loudness", "how loud it is said", "dB", "higher")
    assert done.pairs(done.ratings[0]).attrs["columns"]["loudness"]["unit"] == "dB"
    assert pd.read_parquet(done.dir / "pairs").attrs["columns"]["loudness"]["better"] == "higher"
    assert done.columns["images_table"]["noise.layer2.cls"].words == "how noisy it is [dB]; lower is better"
    assert done.scores.attrs["columns"]["silence"]["unit"] == "dB"
    assert pd.read_parquet(done.dir / "scores.parquet").attrs["columns"]["silence"]["better"] == "lower"
    assert [one.feature.index for one in done.selected] == [0, 0], "lowest first, because lower is better"
    shown = saeviz_command("show", str(done.selected[1].feature), "--run", done.dir)
    assert "silence: 0  how little is said of it [dB]; lower is better" in shown.out
    assert "    r: Pearson's r between activation and rating, from -1 to 1\n" in shown.out, (
        "of columns with ratings, too"
    )
    as_json = saeviz_command("show", str(done.selected[1].feature), "--run", done.dir, "--json").json()
    assert as_json["columns"]["scores"]["silence"]["unit"] == "dB"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            [*LOWEST],
            "selector: lowest needs the column 'silence', which no scorer of this run gives; ",
        ),
        ([*LOWEST], 'add [[scorers]] use = "silence"'),
        ([SILENT, *LOWEST, "selector.column=loud"], "set the option loud of scorers.1 (silence)"),
        ([SILENT, *LOWEST, "selector.column=Silence"], "add a scorer that does; did you mean 'silence'?"),
        ([*LOWEST, "selector.column=none_such"], "selector: lowest needs the column 'none_such'"),
        (['reporters=[{use="words"}]'], "reporters.0: words needs the column 'silence'"),
        (
            ["selector.use=tiered", "selector.require=replicated", 'scorers=[{use="spearman"}]'],
            "needs the column '*replicated', which no scorer of this run gives; set the option split of scorers.0",
        ),
    ],
)
def test_what_is_needed_and_not_given_is_refused_before_anything_is_computed(run, fake_run, settings, said):
    with pytest.raises(saeviz.ConfigError) as refused:
        run(*settings)
    assert said in str(refused.value)
    assert not (fake_run.parent / "runs" / "fake" / "features").exists()


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("self.column", "returned 'silence' from needed_columns, which must give the names of columns"),
        ("[1]", "returned [1] from needed_columns, which must give the names of columns"),
        ("None", "fails in needed_columns with TypeError: "),
        ("1 / 0", "fails in needed_columns with ZeroDivisionError: "),
    ],
)
def test_what_is_no_list_of_columns_is_the_plugins_fault(run, monkeypatch, returned, said):
    monkeypatch.setattr(sys.modules[__name__], "PLUGIN", PLUGIN.replace("yield self.column", f"return {returned}"))
    with pytest.raises(saeviz.PluginError) as refused:
        run(SILENT, *LOWEST)
    assert said in str(refused.value)


def test_columns_of_every_run_and_of_a_named_scorer_can_be_needed(run):
    run(SILENT, *LOWEST, "selector.column=max", until="select")
    named = 'scorers=[{use="silence", name="my"}]'
    run(named, *LOWEST, "selector.column=my_silence", until="select")
    with pytest.raises(saeviz.ConfigError, match="no scorer of this run gives"):
        run(named, *LOWEST, until="select")


def test_beside_a_scorer_that_declares_nothing_it_is_refused_once_the_columns_are_known(run):
    run(SILENT, *LOWEST, columns="()", until="select")
    with pytest.raises(saeviz.ConfigError, match="selector: lowest needs the column 'loud'"):
        run(SILENT, *LOWEST, "selector.column=loud", columns="()", until="select")


def test_a_column_that_is_not_declared_beside_others_is_said(run, caplog):
    run(SILENT, extra='yield saeviz.ScoreColumn("more", data.space, np.zeros(data.space.n_features))', until="score")
    [said] = [record.message for record in caplog.records if "declare" in record.message]
    assert said.startswith("scorers.1: silence of plugin silent")
    assert "gave the column 'more' and does not declare it" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": ""}, "must be text"),
        ({"name": "x", "description": "two\nlines"}, "column 'x': its description must be one line of text"),
        ({"name": "x", "unit": 3}, "its unit must be one line"),
        ({"name": "x", "better": "bigger"}, "better is 'bigger', not 'higher', 'lower' or None"),
    ],
)
def test_a_description_is_checked_where_it_is_made(given, said):
    with pytest.raises(saeviz.DataError, match=said):
        saeviz.ColumnInfo(**given)


def test_tables_are_read_whatever_is_written_where_descriptions_belong(fake_run, run):
    done = run(SILENT, until="score")
    table = pd.read_parquet(done.dir / "scores.parquet")
    wrong = {
        "max": 3,
        "mean": {"unit": "dB"},
        "silence": {"description": "two\nlines", "unit": "", "better": None},
    }
    unhashable = {"silence": {"description": "", "unit": "", "better": []}}
    for attrs in ({"columns": wrong}, {"columns": unhashable}, {"columns": [1]}, {}):
        table.attrs = attrs
        assert score_table().info("max").words == ""
        table.to_parquet(done.dir / "scores.parquet")
        (done.dir / "run.json").write_text((done.dir / "run.json").read_text().replace('"scores.parquet"', '"no"'))
        again = saeviz.open_run(done.dir, plugins=[FAKES])
        assert again.columns["scores"]["silence"] == saeviz.ColumnInfo("silence")
        assert list(again.scores) == list(table)


@pytest.mark.slow
def test_every_bundled_scorer_declares_what_it_gives(fake_run, caplog):
    scorers = [
        '{use="pearson-bh", split=0.5, bootstrap=100, min_active=3}',
        '{use="spearman", min_active=3}',
        '{use="point-biserial", min_active=3}',
        '{use="partial", control=["noise"], min_active=3}',
        '{use="moderation", moderators=["noise"], min_active=3}',
        '{use="monosemanticity", draws=20}',
        '{use="raters"}',
        '{use="redundancy"}',
        '{use="map", method="pca"}',
    ]
    done = saeviz.run(fake_run, settings=[f"scorers=[{', '.join(scorers)}]"])
    assert not [record.message for record in caplog.records if "does not declare" in record.message]
    unknown = [name for table in done.columns.values() for name, info in table.items() if not info.description]
    assert unknown == []
