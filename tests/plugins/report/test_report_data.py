"""The data files of the report say of every feature and image what the tables of the run say."""

from __future__ import annotations

import copy
import json
import math
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import saeviz
from saeviz.toolkit.files import write_atomic
from saeviz_report import HtmlOptions
from saeviz_report.explorer import activations, reporter
from saeviz_report.explorer.columns import Rows
from saeviz_report.explorer.encoding import numbers, texts
from saeviz_report.explorer.files import as_script
from saeviz_report.explorer.items import nearest, spreads_of
from saeviz_report.explorer.neighbours import directions_of
from saeviz_report.explorer.reporter import HtmlReport
from tests.conftest import FAKE_RUN
from tests.report_data import Report, unpack


@pytest.fixture(scope="module")
def run(clean_environment, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "fake.toml"
    path.write_text(FAKE_RUN)
    return saeviz.run(path)


def write(run, **options):
    return HtmlReport(HtmlOptions(**options), saeviz.Context()).write(run).parent


@pytest.fixture(scope="module")
def folder(run):
    return write(run)


def data_of(folder):
    return Report(folder).data


def content(folder, name):
    return Report(folder).content(name)


def column(folder, name, rating=None):
    return Report(folder).column(name, rating)


def table_of(run, table, name):
    """A column of a table of the run in the order of spaces and features."""
    return np.concatenate([saeviz.rows_in(table, space).sort_values("feature")[name] for space in run.spaces])


@pytest.mark.parametrize("name", ["n_active", "max", "monosemanticity"])
def test_scores_are_there_for_every_feature(run, folder, name):
    expected = table_of(run, run.scores, name)
    assert len(expected) == sum(space.n_features for space in run.spaces)
    np.testing.assert_allclose(column(folder, name), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["r", "p", "q", "ci_low", "significant"])
def test_relations_are_there_for_every_feature_and_rating(run, folder, name):
    for rating in run.ratings:
        expected = table_of(run, run.correlations[run.correlations["rating"] == rating], name)
        np.testing.assert_allclose(column(folder, name, rating), expected, rtol=1e-6)


def test_selection_and_names(run, folder):
    starts = np.cumsum([0, *(space.n_features for space in run.spaces)])
    rows = {str(space): start for space, start in zip(run.spaces, starts, strict=False)}
    tier, rank, label = (column(folder, name) for name in ("tier", "rank", "label"))
    assert (tier > 0).sum() == len(run.selected) > 0
    assert sorted(rank[tier > 0]) == list(range(1, len(run.selected) + 1))
    for chosen in run.selected:
        row = rows[str(chosen.feature).partition("/")[0]] + chosen.feature.index
        assert (tier[row], label[row]) == (chosen.tier, run.labels[chosen.feature].label)
        assert content(folder, "labels")[str(row)]["reason"] == chosen.reason
    assert np.isnan(rank[tier == 0]).all()


def test_how_stable_the_selection_is_where_it_is_known(run, folder, tmp_path):
    assert "selection_stability" not in Report(folder).columns()
    first, *others = run.selected
    known = copy.copy(run)
    known.__dict__["selected"] = [replace(first, selection_stability=0.75, tier_stability=0.5), *others]
    HtmlReport(HtmlOptions(), saeviz.Context()).write_viewer(known, tmp_path)
    row = Report(tmp_path).row(first.feature)
    assert column(tmp_path, "selection_stability")[row] == 0.75
    assert column(tmp_path, "tier_stability")[row] == 0.5
    assert np.isfinite(column(tmp_path, "tier_stability")).sum() == 1


class WithRaters(saeviz.Run):
    """The run with individual ratings of two of its images."""

    @property
    def individual_ratings(self):
        first, second = (item.item_id for item in self.items[:2])
        rows = [(first, "warmth", "a", 1.0), (first, "warmth", "b", 3.0), (second, "warmth", "a", 2.0)]
        return pd.DataFrame(rows, columns=["item_id", "rating", "rater", "value"])


class WithColumns(saeviz.Run):
    """The run with a scorer that gives the spread of a rating over raters."""

    @property
    def images_table(self):
        found = super().images_table[::-1]
        spread = [*[0.7] * (len(found) - 2), np.nan, 0.5]
        return found.assign(**{"sd.noise": spread, "raters.noise": 12.0, "sd.warmth": 1.0})


def test_the_spread_over_raters_is_from_single_ratings_or_from_numbers_of_images(run):
    given = copy.copy(run)
    given.__class__ = WithRaters
    [(name, sd, n)] = spreads_of(given)
    assert name == "warmth"
    np.testing.assert_allclose(sd[:3], [np.sqrt(2), np.nan, np.nan])
    np.testing.assert_allclose(n[:3], [2, 1, np.nan])
    given.__class__ = WithColumns
    [(name, sd, n)] = spreads_of(given)
    assert name == "noise"
    np.testing.assert_allclose(sd[:3], [0.5, np.nan, 0.7])
    assert set(n) == {12}


def test_neighbours_of_a_selected_feature_are_those_most_alike_by_cosine(run, folder):
    matrix = np.concatenate([run.features(space).matrix.toarray() for space in run.spaces], axis=1)
    lengths = np.linalg.norm(matrix, axis=0)
    cosines = matrix.T @ matrix / np.where(lengths, lengths, 1) / np.where(lengths, lengths, 1)[:, None]
    np.fill_diagonal(cosines, 0)
    found = content(folder, "neighbours")
    assert len(found) == len(run.selected)
    for row, near in found.items():
        own = cosines[int(row)]
        assert int(row) not in near["rows"]
        np.testing.assert_allclose(near["cosines"], own[near["rows"]], atol=1e-4)
        assert near["cosines"] == sorted(near["cosines"], reverse=True)
        assert max(near["cosines"], default=0) == pytest.approx(own.max(), abs=1e-4)


class Decoder:
    """An extractor that shows decoder directions."""

    def decoder(self, space):
        generator = np.random.default_rng(space.layer)
        return generator.normal(size=(space.n_features, 8)).astype(np.float32)


class WithDecoder(saeviz.Run):
    """The run with such an extractor."""

    def component(self, table):
        return Decoder() if table == "extractor" else super().component(table)


def test_neighbours_by_direction_are_those_of_the_largest_cosine_in_the_space(run):
    known = copy.copy(run)
    known.__class__ = WithDecoder
    rows = Rows(run.spaces)
    found = directions_of(known, rows)
    assert sorted(found) == sorted(str(rows.of(one.feature)) for one in run.selected)
    for chosen in run.selected:
        [place] = [place for place, space in enumerate(run.spaces) if chosen.feature in space]
        decoder = Decoder().decoder(run.spaces[place]).astype(float)
        units = decoder / np.linalg.norm(decoder, axis=1, keepdims=True)
        cosines = units @ units[chosen.feature.index]
        expected = [index for index in np.argsort(-cosines) if cosines[index] > 0 and index != chosen.feature.index]
        near = found[str(rows.of(chosen.feature))]
        assert [row - rows.starts[place] for row in near["rows"]] == expected[:12]
        np.testing.assert_allclose(near["cosines"], cosines[expected[:12]], atol=1e-4)


def test_an_extractor_without_decoder_has_no_directions(run):
    assert directions_of(run, Rows(run.spaces)) == {}


def test_activations_are_there_by_feature_and_by_image(run, folder):
    expected = np.concatenate([run.features(space).matrix.toarray() for space in run.spaces], axis=1)
    for kind, size, table in (
        ("features", activations.FEATURES_A_FILE, expected.T),
        ("images", activations.IMAGES_A_FILE, expected),
    ):
        found = np.zeros_like(table)
        for number in range(math.ceil(len(table) / size)):
            block = {name: unpack(packed) for name, packed in content(folder, f"{kind}/{number}").items()}
            ends = np.cumsum(block["counts"])
            for place, (end, count) in enumerate(zip(ends, block["counts"], strict=True)):
                others, values = block["others"][end - count : end], block["values"][end - count : end]
                assert (np.diff(values) <= 0).all(), "the strongest comes first"
                found[number * size + place, others] = values
        np.testing.assert_array_equal(found, table)


def test_a_run_with_very_many_activations_has_a_report_without_them(run, tmp_path, monkeypatch):
    monkeypatch.setattr(activations, "MOST", 10)
    folder = write(run)
    assert content(folder, "run")["features_a_file"] is None
    assert not list(folder.rglob("features")), "those of the earlier report are gone"
    monkeypatch.undo()
    write(run)


def test_images_have_their_ratings_texts_and_pictures(run, folder):
    items = content(folder, "items")
    assert items["ids"] == [item.item_id for item in run.items]
    for rating in run.ratings:
        np.testing.assert_allclose(unpack(dict(items["ratings"])[rating]), run.ratings_table[rating], rtol=1e-6)
    for file, width, height in items["thumbnails"]:
        assert (folder / "pictures" / file).is_file()
        assert width > 0 < height
    assert len(unpack(items["nearest"])) == len(run.items) * items["n_nearest"]


def test_nearest_images_are_those_of_the_largest_cosine():
    random = np.random.default_rng(0)
    points = random.normal(size=(30, 5)).astype(np.float32)
    points[7] = np.nan
    units = points / np.linalg.norm(points, axis=1, keepdims=True)
    cosines = units @ units.T
    found = nearest(points)
    for row in range(30):
        others = [other for other in np.argsort(-cosines[row], kind="stable") if other not in (row, 7)]
        assert list(found[row]) == ([7] * 12 if row == 7 else others[:12])


def test_an_embedding_of_zeros_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = nearest(np.array([[0, 0], [1, 0], [1, 1]], dtype=np.float32))
    assert list(found[1]) == [2, 0]


@pytest.mark.parametrize("values", [[1.5, float("nan"), -2.0], [1e-300, 1.0], [], [float("nan")], [1e300]])
def test_numbers_read_back(values):
    np.testing.assert_allclose(unpack(numbers(np.array(values))), values, rtol=1e-7)


@pytest.mark.parametrize("offset", [1e12, 1.7e9, -1e6])
def test_differences_between_large_numbers_read_back(offset):
    values = np.array([1.0, 2.0, 4.5, np.nan]) + offset
    np.testing.assert_allclose(unpack(numbers(values)) - offset, [1, 2, 4.5, np.nan], rtol=1e-3)


def test_texts_read_back_however_many_there_are():
    words = [str(number % 300) for number in range(1000)] + ["", "<script>", "\u202e"]
    assert unpack(texts(words)) == words


def test_no_text_ends_the_script_that_holds_it():
    hostile = "</script><!--\u2028\ud800'\"\\"
    script = as_script("x", {hostile: [hostile, float("nan")]})
    assert script.isascii()
    assert "<" not in script
    assert json.loads(script.removeprefix('saeviz.receive("x", ').removesuffix(");\n")) == {hostile: [hostile, None]}


def test_writing_again_leaves_the_same_files(run, folder):
    def found():
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before = found()
    (folder / "content-of-an-earlier-report" / "data").mkdir(parents=True)
    (data_of(folder) / "run.js").write_text("damaged")
    write(run)
    assert found() == before
    assert [path.name for path in folder.glob("content-*")] == [data_of(folder).parent.name]


def test_an_earlier_report_stays_whole_until_the_page_of_the_new_one_is_there(run, folder, monkeypatch):
    def found():
        return {path.relative_to(folder): path.read_bytes() for path in data_of(folder).parent.rglob("*.js")}

    def killed(path, data):
        if path.name == "index.html":
            raise KeyboardInterrupt
        write_atomic(path, data)

    before = found()
    monkeypatch.setattr(activations, "MOST", 10)
    monkeypatch.setattr(reporter, "write_atomic", killed)
    with pytest.raises(KeyboardInterrupt):
        write(run)
    assert found() == before
    assert len(list(folder.glob("content-*"))) > 1
    monkeypatch.undo()
    write(run)
    assert found() == before
    assert len(list(folder.glob("content-*"))) == 1


@pytest.mark.parametrize("name", ["report", "report/pictures"])
def test_nothing_is_written_or_removed_through_a_link(run, tmp_path, name):
    """A run directory may come from a stranger."""
    copy = tmp_path / "run"
    shutil.copytree(run.dir, copy, ignore=shutil.ignore_patterns("report", ".lock"))
    elsewhere = tmp_path / "photos"
    elsewhere.mkdir()
    (elsewhere / "mine.webp").write_text("a picture")
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).symlink_to(elsewhere)
    with pytest.raises(saeviz.RunDirError, match="lies behind a link"):
        write(saeviz.open_run(copy))
    assert [path.name for path in elsewhere.iterdir()] == ["mine.webp"]


def test_a_content_folder_that_is_a_link_is_taken_away_and_what_it_leads_to_stays(run, folder, tmp_path):
    (tmp_path / "kept").write_text("")
    (folder / "content-0").symlink_to(tmp_path)
    write(run)
    assert (tmp_path / "kept").exists()
    assert not (folder / "content-0").exists()


def test_the_policy_of_the_page_lets_nothing_in_from_elsewhere(folder):
    page = (folder / "index.html").read_text()
    [policy] = [line for line in page.splitlines() if "Content-Security-Policy" in line]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy.partition("content=")[2]
    assert "//" not in page.replace("<!doctype html>", "")
