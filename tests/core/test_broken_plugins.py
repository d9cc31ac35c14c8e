"""Whatever a plugin does wrong, the run ends with a sentence that names role, component and plugin, and exit code 3."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import saeviz
from saeviz.api import Prepared, execute, prepare
from saeviz.config.layers import Layer
from saeviz.pipeline.run import Plan
from saeviz.testing.fakes import FakeExtractor, FakeImages, FakeLabeler, FakeScorer
from saeviz.values.errors import ExitCode
from tests.broken_plugins import BROKEN, KINDS, ODD_ERRORS, SPACE, UNREADABLE, Row, raising

PLUGIN = "of plugin saeviz.testing.fakes (module saeviz.testing.fakes)"
TABLES = {
    "run": {"cache": False, "top_images": 4, "judge_images": 10},
    "plugins": {"use": ["module:saeviz.testing.fakes"]},
    "images": {"use": "fake-images", "n": 50},
    "extractor": {"use": "fake-extractor", "layers": [1, 7]},
    "embeddings": {"use": "fake-embeddings"},
    "scorers": [{"use": "fake-scorer"}, {"use": "monosemanticity", "draws": 0}],
    "selector": {"use": "fake-selector"},
    "labeler": {"use": "fake-labeler"},
    "judge": {"use": "fake-labeler"},
    "reporters": [{"use": "fake-reporter"}],
}
STAGES = {
    **dict.fromkeys(("images", "executor", "extractor", "store"), "extract"),
    "embeddings": "embed",
    "scorer": "score",
    "selector": "select",
    "labeler": "label",
    "judge": "judge",
    "reporter": "report",
}
"""The stage in which a component of each role is used."""
PLACES = {"scorer": "scorers.0", "reporter": "reporters.0"}
TABLE = {**BROKEN, "labeler": [*BROKEN["labeler"], *(Row(*row) for row in ODD_ERRORS)]}
CASES = [pytest.param(role, row, id=f"{role}: {row.what}") for role, found in TABLE.items() for row in found]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, clean_environment: None) -> dict[str, Prepared]:
    """A run that is finished, for stages to be done again, and smaller ones that begin."""
    folder = tmp_path_factory.mktemp("runs")
    found = {}
    few = {"images": {"use": "fake-images", "n": 4}, "store": {"use": "fake-store"}}
    for name, more in {
        "finished": {"store": {"use": "npz"}},
        "begun": few,
        "executor": {**few, "executor": {"use": "fake-executor", "shard_items": 2}},
    }.items():
        tables = {**TABLES, **more, "run": {**TABLES["run"], "dir": str(folder / name)}}
        found[name] = prepare([Layer(tables, folder, "the test")])
    execute(found["finished"], Plan())
    return found


@pytest.mark.parametrize(("role", "row"), CASES)
def test_a_mistake_of_a_plugin_is_told_with_its_name(prepared, tmp_path, monkeypatch, role: str, row: Row):
    monkeypatch.setattr(KINDS[role], row.method, row.broken(role), raising=False)
    stage, plan = STAGES[role], Plan(last=STAGES[role])
    of = prepared.get(role, prepared["begun"])
    if stage != "extract":
        of, plan = prepared["finished"], Plan(first=stage, last=stage, redo=[stage])
        shutil.copytree(of.directory, tmp_path / "run")
    with pytest.raises(saeviz.SaevizError) as error:
        execute(Prepared(of.config, of.manager, tmp_path / "run"), plan)
    name = next(config.use for config in of.config.components() if config.place == PLACES.get(role, role))
    assert str(error.value).startswith(f"{PLACES.get(role, role)}: {name} {PLUGIN} {row.said}")
    assert "\n" not in str(error.value)
    assert error.value.exit_code == ExitCode.PLUGIN


class WithBytes:
    """The source of an image that gives its file as well, or fails to."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self.read_bytes = read

    def __call__(self) -> Image.Image:
        return Image.new("RGB", (8, 8), "red")


def raising_data_error() -> Any:
    raise saeviz.DataError("row 3")


SOURCES: dict[str, tuple[Any, str]] = {
    "fails": (raising, "its function tests.broken_plugins.raising raised KeyError: 'inside'"),
    "leaves": (sys.exit, "its function sys.exit raised SystemExit"),
    "has no data": (raising_data_error, "its function tests.core.test_broken_plugins.raising_data_error fails: row 3"),
    "malformed": (lambda: saeviz.ImageItem("", b""), "<lambda> fails: an item id must not be empty"),
    "nothing": (lambda: None, "<lambda> returned None, not a picture"),
    "a file": (lambda: b"GIF89a", "<lambda> returned a bytes, not a picture"),
    "empty": (lambda: Image.new("RGB", (0, 5)), "<lambda> returned a picture of 0 x 5"),
    "no file": (lambda: open("nowhere.png"), "cannot be read: No such file or directory"),  # noqa: PTH123, SIM115
    "its bytes fail": (WithBytes(raising), ""),
    "its bytes are text": (WithBytes(lambda: "text"), ""),
}


def test_a_function_of_a_picture_that_fails_costs_this_picture_only(prepared, tmp_path, monkeypatch):
    def given(self: Any, filter_labeled: bool = False, limit: int | None = None) -> Iterator[saeviz.ImageItem]:
        fine = [self._item(number) for number in range(4)]
        yield from (*fine, *(saeviz.ImageItem(name, source, version="1") for name, (source, _) in SOURCES.items()))

    monkeypatch.setattr(FakeImages, "iter_images", given)
    of = prepared["begun"]
    settings = of.config.run.model_copy(update={"cache": True, "cache_dir": tmp_path / "cache"})
    run = execute(Prepared(replace(of.config, run=settings), of.manager, tmp_path / "run"), Plan(last="extract"))
    told = {failure.subject: failure.error for failure in run.failures}
    assert set(told) == {name for name, (_, error) in SOURCES.items() if error}
    for name, error in told.items():
        assert error.startswith(f"image {name!r} cannot be read: ")
        assert SOURCES[name][1] in error


def score_again(of: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, score: Callable[..., Any]) -> None:
    monkeypatch.setattr(FakeScorer, "score", score)
    shutil.copytree(of.directory, tmp_path / "run")
    execute(Prepared(of.config, of.manager, tmp_path / "run"), Plan(first="score", last="score", redo=["score"]))


def test_what_a_component_changes_of_the_process_is_told_and_set_back(prepared, tmp_path, monkeypatch, caplog):
    def score(_self: Any, data: saeviz.ScoreInput) -> Iterator[Any]:
        os.chdir(tmp_path)
        np.seterr(all="raise")
        logging.disable(logging.CRITICAL)
        yield saeviz.ScoreFact("n", 1)

    before = Path.cwd(), np.geterr()
    monkeypatch.setattr(threading, "active_count", lambda: 1)  # whatever earlier tests have left
    score_again(prepared["finished"], tmp_path, monkeypatch, score)
    assert (Path.cwd(), np.geterr(), logging.root.manager.disable) == (*before, logging.NOTSET)
    for what in ("the current folder", "what NumPy does at errors of floats", "which messages are logged"):
        assert f"scorers.0: fake-scorer {PLUGIN} changed {what}" in caplog.text


def test_what_a_generator_changes_for_a_while_stays_until_it_ends(prepared, tmp_path, monkeypatch, caplog):
    seen = []

    def score(_self: Any, data: saeviz.ScoreInput) -> Iterator[Any]:
        with np.errstate(divide="ignore"), contextlib.chdir(tmp_path):
            for n in range(3):
                yield saeviz.ScoreFact(f"n{n}", n)
                seen.append((np.geterr()["divide"], Path.cwd()))

    score_again(prepared["finished"], tmp_path, monkeypatch, score)
    assert set(seen) == {("ignore", tmp_path)}
    assert "which others depend on" not in caplog.text


def test_what_a_generator_changed_that_a_limit_stops_is_told_once_and_set_back(prepared, tmp_path, monkeypatch, caplog):
    ended = []

    def given(self: Any, filter_labeled: bool = False, limit: int | None = None) -> Iterator[saeviz.ImageItem]:
        os.chdir(tmp_path)
        try:
            yield from (self._item(number) for number in range(9))
        finally:
            ended.append(Path.cwd())

    before = Path.cwd()
    monkeypatch.chdir(before)
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(FakeImages, "iter_images", given)
    of = prepared["begun"]
    execute(Prepared(of.config, of.manager, tmp_path / "run"), Plan(last="extract"), limit=2)
    assert (Path.cwd(), set(ended)) == (before, {tmp_path})
    assert caplog.text.count("changed the current folder") == len(ended)


def test_the_folder_that_another_thread_may_be_in_is_left_as_it_is(prepared, tmp_path, monkeypatch, caplog):
    def score(_self: Any, data: saeviz.ScoreInput) -> Iterator[Any]:
        os.chdir(tmp_path)
        yield saeviz.ScoreFact("n", 1)

    monkeypatch.chdir(Path.cwd())
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    score_again(prepared["finished"], tmp_path, monkeypatch, score)
    assert Path.cwd() == tmp_path
    assert "or another thread changed the current folder" in caplog.text


def test_a_current_folder_that_disappears_does_not_hide_what_fails(prepared, tmp_path, monkeypatch):
    def score(_self: Any, data: saeviz.ScoreInput) -> Iterator[Any]:
        (tmp_path / "gone").rmdir()
        raise KeyError("inside")

    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    with pytest.raises(saeviz.PluginError, match="fails with KeyError: 'inside'"):
        score_again(prepared["finished"], tmp_path, monkeypatch, score)


def test_ratings_and_reasons_of_other_types_are_what_they_say(prepared, tmp_path, monkeypatch):
    def given(self: Any, filter_labeled: bool = False, limit: int | None = None) -> Iterator[saeviz.ImageItem]:
        ratings = {"warmth": np.float32(0.5), "price": Decimal("1.5")}
        rated = [replace(self._item(n), ratings=ratings, individual={"price": {"a": Decimal(1)}}) for n in range(4)]
        yield from (*rated, saeviz.ImageItem("broken", b""))

    def fails(self: Any, item: saeviz.ImageItem) -> Any:
        self.context.failed(item.item_id, OSError("disk"))

    monkeypatch.setattr(FakeImages, "iter_images", given)
    of = prepared["begun"]
    run = execute(Prepared(of.config, of.manager, tmp_path / "run"), Plan(last="extract"))
    assert [failure.subject for failure in run.failures] == ["broken"]
    monkeypatch.setattr(FakeExtractor, "_try_patches", fails)
    with pytest.raises(saeviz.DataError, match="none of the 5 images"):
        execute(Prepared(of.config, of.manager, tmp_path / "other"), Plan(last="extract"))
    assert "OSError: disk" in (tmp_path / "other" / "failures.jsonl").read_text()


ITEM = saeviz.ImageItem("one", lambda: Image.new("RGB", (8, 8), "red"))
ASKED: list[tuple[str, Callable[[Any], Any], Any, str]] = [
    ("decoder", lambda one: one.decoder(SPACE), raising, "fails with KeyError: 'inside'"),
    (
        "decoder",
        lambda one: one.decoder(SPACE),
        lambda *_: None,
        "returned None from decoder, not an array of shape (3",
    ),
    (
        "decoder",
        lambda one: one.decoder(space=SPACE),
        lambda *_, **__: np.eye(7),
        "returned an array of shape (7, 7) fro",
    ),
    (
        "activations",
        lambda one: one.activations([ITEM], SPACE),
        lambda *_: [[1.0]],
        "returned a list from activations, ",
    ),
    (
        "activations",
        lambda one: one.activations([ITEM], SPACE),
        lambda *_: UNREADABLE.open(),
        "ends the run because of o",
    ),
    (
        "activations_of",
        lambda one: one.activations_of([ITEM], [SPACE]),
        lambda *_: (),
        "returned a tuple from activation",
    ),
    (
        "heatmaps",
        lambda one: one.heatmaps([ITEM], 1, [3]),
        lambda *_: np.ones((1, 4, 4)),
        "returned an array of shape (1,",
    ),
    (
        "field_of_view",
        lambda one: one.field_of_view(ITEM),
        lambda *_: (0, 8),
        "returned (0, 8) from field_of_view, not fo",
    ),
    (
        "extract_spatial",
        lambda one: one.extract_spatial(ITEM),
        lambda *_: np.ones(3),
        "returned a ndarray from extract_sp",
    ),
    (
        "embed_texts",
        lambda one: one.embed_texts(["a"]),
        lambda *_: np.array([["a"]]),
        "returned an array of <U1 from embe",
    ),
    (
        "extract",
        lambda one: list(one.extract([ITEM])),
        lambda *_: (raising() for _ in "a"),
        "fails with KeyError: 'inside'",
    ),
    (
        "spaces",
        lambda one: one.spaces,
        property(lambda _: None),
        "returned None from spaces, not a list of FeatureSpace",
    ),
    (
        "provenance",
        lambda one: one.provenance,
        property(lambda one: one.nothing),
        "fails with AttributeError: 'FakeExtr",
    ),
]


def test_who_is_asked_by_another_component_is_blamed_for_what_it_does_wrong(prepared, tmp_path, monkeypatch):
    told = []

    def ask(self: Any, request: saeviz.LabelRequest) -> saeviz.FeatureLabel:
        if not told:
            for method, question, broken, _ in ASKED:
                with monkeypatch.context() as patch:
                    patch.setattr(FakeExtractor, method, broken)
                    with pytest.raises(saeviz.PluginError) as error:
                        question(self.context.peer("extractor"))
                told.append(str(error.value))
        return saeviz.FeatureLabel("red things")

    for method in ("decoder", "activations", "activations_of", "provenance"):
        monkeypatch.setattr(FakeExtractor, method, raising, raising=False)
    monkeypatch.setattr(FakeLabeler, "__init__", lambda self, _options, context: setattr(self, "context", context))
    monkeypatch.setattr(FakeLabeler, "label", ask)
    of = prepared["finished"]
    shutil.copytree(of.directory, tmp_path / "run")
    execute(Prepared(of.config, of.manager, tmp_path / "run"), Plan(first="label", last="label", redo=["label"]))
    for said, (*_, expected) in zip(told, ASKED, strict=True):
        assert said.startswith(f"extractor: fake-extractor {PLUGIN} {expected}")


@pytest.fixture
def opened(prepared) -> Any:
    """A finished run, whose components anybody may ask."""
    return saeviz.open_run(prepared["finished"].directory, plugins=["module:saeviz.testing.fakes"])


def test_who_is_asked_counts_as_the_component_itself(opened, monkeypatch):
    for name, member in {"_who": "mine", "__len__": lambda _: 7, "doubled": lambda one: 2 * one.factor}.items():
        monkeypatch.setattr(FakeExtractor, name, member, raising=False)
    asked = opened.component("extractor")
    assert isinstance(asked, FakeExtractor)
    asked.factor = 9
    assert (asked.doubled(), len(asked), asked._who) == (18, 7, "mine")
    assert copy.copy(asked).doubled() == 18
    assert type(copy.copy(asked)) is FakeExtractor
    del asked.factor
    assert "factor" not in vars(asked)


def test_a_store_that_is_asked_has_its_own_methods_and_no_others(opened, monkeypatch):
    kind = type(saeviz.component("store", "npz", path="nowhere"))
    monkeypatch.setattr(kind, "mine", lambda one, n: (type(one), n), raising=False)
    store = opened.component("store")
    assert store.mine(3) == (kind, 3) == store.writer("one").mine(3)
    assert isinstance(store, kind)
    assert isinstance(store, saeviz.ManyWriters)
    assert store.durable, "as of any store that does not say otherwise"
    assert store.spaces() == opened.spaces
    with pytest.raises(saeviz.DataError, match="nobody"):
        list(store.read(opened.spaces[0], ["nobody"]))


def test_arguments_are_the_matter_of_who_asks(opened, monkeypatch):
    monkeypatch.setattr(FakeExtractor, "embed_texts", lambda _, words: np.ones((len([*words]), 2)))
    monkeypatch.setattr(FakeExtractor, "decoder", lambda _, where: np.ones((where.n_features, 2)), raising=False)
    monkeypatch.setattr(FakeExtractor, "field_of_view", lambda *_: np.array([0, 0, 8, 8.5], np.float32))
    asked = opened.component("extractor")
    assert asked.embed_texts(iter("ab")).shape == asked.embed_texts(words=["a", "b"]).shape == (2, 2)
    assert asked.decoder(where=SPACE).shape == (SPACE.n_features, 2)
    assert asked.field_of_view(ITEM) == (0, 0, 8, 8.5)
    monkeypatch.setattr(FakeExtractor, "heatmaps", lambda _self, images, layer, features: 1 / 0)
    with pytest.raises(
        saeviz.PluginError, match=r"^extractor: fake-extractor .* heatmaps\(images, layer, features, fine"
    ):
        opened.heatmap(opened.spaces[0].feature(1), opened.items[0].item_id)
    with pytest.raises(
        TypeError, match=r"embed_texts\(\) of extractor: fake-extractor .*unexpected keyword argument 'x'"
    ):
        asked.embed_texts(["a"], x=1)
