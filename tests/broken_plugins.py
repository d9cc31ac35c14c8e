"""Plugins that are each broken in one way, by role: a method of a fake component that is replaced, and what is said.

A row: what is broken, the method, what takes its place given the original, and what follows role, name and plugin.
"""

from __future__ import annotations

import dataclasses
from asyncio import CancelledError
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

import saeviz
from saeviz.testing.fakes import (
    FakeEmbeddings,
    FakeExecutor,
    FakeExtractor,
    FakeImages,
    FakeLabeler,
    FakeReporter,
    FakeScorer,
    FakeSelector,
    MemoryStore,
)

SPACE, OTHER = saeviz.FeatureSpace(1, "cls", 32), saeviz.FeatureSpace(9, "cls", 32)
FEATURE = SPACE.feature(1)
NOTHING = csr_array((0, 32), dtype=np.float32)
LABEL = saeviz.FeatureLabel("red things")
UNREADABLE = saeviz.ImageItem("broken", b"")
KINDS: dict[str, type] = {
    "images": FakeImages,
    "extractor": FakeExtractor,
    "store": MemoryStore,
    "embeddings": FakeEmbeddings,
    "scorer": FakeScorer,
    "selector": FakeSelector,
    "labeler": FakeLabeler,
    "reporter": FakeReporter,
    "executor": FakeExecutor,
}
"""The component of each role that is broken."""


class Row(NamedTuple):
    """One broken plugin."""

    what: str
    method: str
    change: Callable[[Any], Any]
    said: str

    def broken(self, role: str) -> Any:
        """What takes the place of the method."""
        return self.change(getattr(KINDS[role], self.method, None))


def changed(value: Any, **changes: Any) -> Any:
    return dataclasses.replace(value, **changes)


def wrap(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A method whose result goes through `change`."""
    return lambda original: lambda *arguments, **options: change(original(*arguments, **options))


def each(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A method whose results each go through `change`."""
    return wrap(lambda found: (change(one) for one in found))


def gives(make: Callable[[], Any]) -> Callable[[Any], Any]:
    """A method that makes something else; it is made there, where its own checks are."""
    return lambda _original: lambda *_arguments, **_options: make()


def has(value: Any) -> Callable[[Any], Any]:
    """A property with this value, whatever it is set to."""
    return lambda _original: property(lambda _self: value, lambda _self, _value: None)


def raising(*_arguments: Any, **_options: Any) -> Any:
    raise KeyError("inside")


def leaving(*_arguments: Any, **_options: Any) -> Any:
    raise CancelledError


def speechless(*_arguments: Any, **_options: Any) -> Any:
    class SpeechlessError(Exception):
        def __str__(self) -> str:
            raise KeyError("inside")

    raise SpeechlessError


def wordy(*_arguments: Any, **_options: Any) -> Any:
    raise ValueError("one\ntwo \x1b[31m" + 1000 * "long ")


def unheard(original: Any) -> Any:
    """A property in which an attribute is missing, as if it were missing itself."""
    return property(lambda _self: [].nothing)


def rows(batch: saeviz.FeatureBatch, chosen: Any) -> saeviz.FeatureBatch:
    """Some rows of a batch."""
    chosen = np.arange(len(batch))[chosen]
    return changed(batch, item_ids=tuple(batch.item_ids[row] for row in chosen), matrix=batch.matrix[chosen])


def beyond(matrix: Any) -> Any:
    """The features of a matrix, each further right than some are."""
    return csr_array((matrix.data, matrix.indices + 7, matrix.indptr), matrix.shape)


def column(**changes: Any) -> Callable[[Any], Any]:
    """Scores of which each column is changed."""
    return each(lambda one: changed(one, **changes) if isinstance(one, saeviz.ScoreColumn) else one)


def adding(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Scores, and what is made of the input of the scorer."""
    return lambda original: lambda self, data: iter([*original(self, data), make(data)])


def fact(value: Any, name: Any = "mine") -> Callable[[Any], Any]:
    return adding(lambda _data: saeviz.ScoreFact(name, value))


def selected(*choices: Any, **more: Any) -> Callable[[Any], Any]:
    """A selection of these tiers, each of another feature, with these fields besides."""
    values = {"reason": "x", **more}
    return gives(lambda: [saeviz.Selected(SPACE.feature(n), tier, **values) for n, tier in enumerate(choices)])


def label(**changes: Any) -> Callable[[Any], Any]:
    return gives(lambda: changed(LABEL, **changes))


def item(**changes: Any) -> Callable[[Any], Any]:
    """Images that are each changed."""
    return each(lambda one: changed(one, **changes))


IMAGES = [
    ("None", "iter_images", gives(lambda: None), "returned None from iter_images, which must give ImageItem objects"),
    ("text", "iter_images", each(str), "gave a str from iter_images, which must give ImageItem objects"),
    ("one image", "iter_images", wrap(next), "returned an ImageItem from iter_images, which must give ImageItem"),
    ("numbers as metadata", "iter_images", item(metadata={"year": 7}), "fails: item 'picture/0': the metadata 'year'"),
    ("a list as metadata", "iter_images", item(metadata=[]), "fails: item 'picture/0': its metadata are a list, not a"),
    ("a rating as text", "iter_images", item(ratings={"a": "b"}), "fails: item 'picture/0': rating 'a' is a str, not"),
    ("a huge rating", "iter_images", item(ratings={"a": 10**400}), "fails: item 'picture/0': rating 'a' is an int, no"),
    ("an infinite rating", "iter_images", item(ratings={"a": np.inf}), "fails: item 'picture/0': rating 'a' is not a"),
    ("no rating's name", "iter_images", item(ratings={"": 1.0}), "fails: item 'picture/0': a rating is called ''"),
    ("a rater for all", "iter_images", item(individual={"a": 1}), "fails: item 'picture/0': the individual ratings ar"),
    ("a group number", "iter_images", item(group=3), "fails: item 'picture/0': the group 3 must be text"),
    ("a path as text", "iter_images", item(source="a.png"), "fails: item 'picture/0': its source is a str, not a Path"),
    ("a version in numbers", "iter_images", item(version=3), "fails: item 'picture/0': its version is an int, not"),
    ("an empty id", "iter_images", item(item_id=""), "fails: an item id must not be empty"),
    ("an id twice", "iter_images", item(item_id="same"), "gave the item id 'same' more than once"),
    ("an id that is no text", "iter_images", item(item_id="\udc80"), "fails: the item id '\\udc80' contains a lone"),
    ("an image that raises", "iter_images", each(raising), "fails with KeyError: 'inside'"),
    ("no notes", "notes", gives(lambda: None), "returned None from notes, not a list of text"),
    ("a note", "notes", gives(lambda: "a note"), "returned a str from notes, not a list of text"),
    ("notes that raise", "notes", lambda _: raising, "fails with KeyError: 'inside'"),
]  # fmt: skip
EXTRACTOR = [
    ("no space", "spaces", has([]), "has no feature space"),
    ("None as spaces", "spaces", has(None), "returned None from spaces, not a list of FeatureSpace objects"),
    ("one space", "spaces", has(SPACE), "returned a FeatureSpace from spaces, not a list of FeatureSpace objects"),
    ("a generator of spaces", "spaces", lambda _: property(lambda _: (s for s in [SPACE])), "returned a generator fro"),
    ("spaces as text", "spaces", has(["layer1.cls"]), "gave a str from spaces, which must give FeatureSpace objects"),
    ("a space twice", "spaces", has([SPACE, SPACE]), "has the space layer1.cls more than once"),
    ("spaces that raise", "spaces", lambda _: property(raising), "fails with KeyError: 'inside'"),
    ("None", "extract", gives(lambda: None), "returned None from extract, which must give FeatureBatch objects"),
    ("one batch", "extract", wrap(next), "returned a FeatureBatch from extract, which must give FeatureBatch objects"),
    ("tuples", "extract", each(lambda one: (one.space, one.item_ids, one.matrix)), "gave a tuple from extract, which"),
    ("another space", "extract", each(lambda one: changed(one, space=OTHER)), "gave layer9.cls with 32 features, a sp"),
    ("a space as text", "extract", each(lambda one: changed(one, space="layer1.cls")), "fails: the space of a batch i"),
    ("ids that are numbers", "extract", each(lambda one: changed(one, item_ids=range(len(one)))),
     "fails: the item id 0"),
    ("ids in one text", "extract", each(lambda one: changed(one, item_ids="abcd")), "fails: layer1.cls: the item ids"),
    ("other ids", "extract", each(lambda one: changed(one, item_ids=[f"x{i}" for i in one.item_ids])),
     "gave features o"),
    ("items twice", "extract", wrap(lambda found: (b for b in list(found) * 2)), "gave features of item 'picture/0' i"),
    ("NaN", "extract", each(lambda one: changed(one, matrix=one.matrix * np.float32("nan"))),
     "fails: layer1.cls: item"),
    ("negative", "extract", each(lambda one: changed(one, matrix=-one.matrix)), "gave the feature value -"),
    ("dense", "extract", each(lambda one: changed(one, matrix=one.matrix.toarray())), "fails: layer1.cls: the matrix"),
    ("a shape", "extract", each(lambda one: changed(one, matrix=one.matrix[:, :7])), "fails: layer1.cls: a batch has"),
    ("features beyond", "extract", each(lambda one: changed(one, matrix=beyond(one.matrix))), "fails: layer1.cl"),
    ("numbers of images", "extract", each(lambda one: changed(one, of_images={"x": [1.0] * len(one)})),
     "gave the numbe"),
    ("no numbers", "numbers_of_images", gives(lambda: None), "returned None from numbers_of_images, not a list of tex"),
    ("odd numbers", "numbers_of_images", gives(lambda: ["L 0"]), "declares numbers of images in layer1.cls with the n"),
    ("a provenance of objects", "provenance", has({"model": object()}), "has a provenance that cannot be written as J"),
    ("a provenance that fails", "provenance", unheard, "fails with AttributeError: 'list' object has no attribute"),
    ("a provenance as text", "provenance", has("a model"), "has a str as provenance, not a mapping"),
    ("a picture that ends it", "extract", gives(lambda: (UNREADABLE.open() for _ in [1])), "ends the run because of o"),
    ("nothing without end", "extract", lambda _: lambda *_: (saeviz.FeatureBatch(SPACE, (), NOTHING) for _ in count()),
     "gave 10,000 batches without images"),
    ("an exception", "extract", lambda _: raising, "fails with KeyError: 'inside'"),
]  # fmt: skip
STORE = [
    ("None", "read", gives(lambda: None), "returned None from read, which must give FeatureBatch objects"),
    ("one batch", "read", wrap(next), "returned a FeatureBatch from read, which must give FeatureBatch objects"),
    ("tuples", "read", each(lambda one: (one.item_ids, one.matrix)), "gave a tuple from read, which must give Feature"),
    ("other values", "read", each(lambda one: changed(one, matrix=one.matrix * 2)), "returns other values of layer1.c"),
    ("another order", "read", each(lambda one: rows(one, slice(None, None, -1))), "gave features of item 'picture/3'"),
    ("too little", "read", each(lambda one: rows(one, slice(1))), "gave features of 1 images instead of 4 in layer1.c"),
    ("nothing", "read", gives(lambda: ()), "gave features of 0 images instead of 4 in layer1.cls"),
    ("another space", "read", each(lambda one: changed(one, space=OTHER)), "gave layer9.cls instead of a batch of lay"),
    ("a write that raises", "write", lambda _: raising, "fails with KeyError: 'inside'"),
    ("a read that raises", "read", lambda _: raising, "fails with KeyError: 'inside'"),
    ("ids that raise", "item_ids", lambda _: raising, "fails with KeyError: 'inside'"),
    ("ids twice", "item_ids", wrap(lambda ids: ids * 2), "lists an item of layer1.cls more than once"),
    ("ids as numbers", "item_ids", gives(lambda: [7]), "gave an int from item_ids(layer1.cls), which must give text"),
    ("a generator of ids", "item_ids", wrap(iter), "returned a list_iterator from item_ids(layer1.cls), not a list of"),
    ("None as ids", "item_ids", gives(lambda: None), "returned None from item_ids(layer1.cls), not a list of text"),
    ("None as spaces", "spaces", gives(lambda: None), "returned None from spaces, not a list of FeatureSpace objects"),
    ("spaces as text", "spaces", gives(lambda: ["layer1.cls"]), "gave a str from spaces, which must give FeatureSpace"),
    ("a space of no item", "spaces", gives(lambda: [OTHER]), "lists the space layer9.cls, of which it has no item"),
]  # fmt: skip
EMBEDDINGS = [
    ("None", "embed", gives(lambda: None), "returned None from embed, not an array of shape (50, 12)"),
    ("a list", "embed", wrap(lambda v: v.tolist()), "returned a list from embed, not an array of shape (50, 12)"),
    ("ragged", "embed", gives(lambda: [[1], [1, 2]]), "returned a list from embed, not an array of shape (50, 12)"),
    ("too few", "embed", wrap(lambda v: v[1:]), "returned an array of shape (49, 12) from embed, not (50, 12)"),
    ("too long", "embed", wrap(lambda v: np.hstack([v, v])), "returned an array of shape (50, 24) from embed, not (50"),
    ("flat", "embed", wrap(np.ravel), "returned an array of shape (600,) from embed, not (50, 12)"),
    ("text", "embed", wrap(lambda v: v.astype(str)), "returned an array of <U32 from embed, not of numbers"),
    ("objects", "embed", wrap(lambda v: v.astype(object)), "returned an array of object from embed, not of numbers"),
    ("a length in words", "dim", has("long"), "has 'long' as dim, which must be a whole number, 1 or more"),
    ("a length of 0", "dim", has(0), "has 0 as dim, which must be a whole number, 1 or more"),
    ("a length that is a truth", "dim", has(True), "has True as dim, which must be a whole number, 1 or more"),
    ("an exception", "embed", lambda _: raising, "fails with KeyError: 'inside'"),
    ("a picture that ends it", "embed", gives(UNREADABLE.open), "ends the run because of one"),
    ("a provenance of objects", "provenance", has({1: "a"}), "has a provenance that cannot be written as JSON: an int"),
]  # fmt: skip
SCORER = [
    ("None", "score", gives(lambda: None), "returned None from score, which must give ScoreColumn, ImageColumn, PairB"),
    ("one column", "score", wrap(next), "returned a ScoreColumn from score, which must give ScoreColumn, ImageColumn,"),
    ("tuples", "score", each(lambda one: (one.name, 1)), "gave a tuple from score, which must give ScoreColumn, Image"),
    ("infinite", "score", column(values=np.full(32, np.inf)), "fails: score 'coverage' of layer1.cls has infinite val"),
    ("objects", "score", column(values=[None] * 32), "fails: score 'coverage' of layer1.cls: object is neither number"),
    ("ragged", "score", column(values=[[1], [1, 2]]), "fails: score 'coverage' of layer1.cls: its values are no array"),
    ("a shape", "score", column(values=np.zeros(3)), "fails: score 'coverage' of layer1.cls: shape (3,), not (32,)"),
    ("no name", "score", column(name=""), "fails: the name of a ScoreColumn is empty"),
    ("a number as name", "score", column(name=7), "fails: the name of a ScoreColumn is an int, not text"),
    ("a name that is no text", "score", column(name="a\udc80"), "fails: the name of a ScoreColumn cannot be written a"),
    ("text that is none", "score", column(values=["\udc80"] * 32), "fails: score 'coverage' of layer1.cls: its text c"),
    ("the name of a key", "score", column(name="layer", target=None), "gave the column 'layer' of layer1.cls, which e"),
    ("a column twice", "score", column(name="x", target=None), "gave the column 'x' of layer1.cls more than once"),
    ("a number as target", "score", column(target=3), "fails: score 'coverage' of layer1.cls: the target is an int, n"),
    ("a rating of no run", "score", column(target="zeal"), "gave 'coverage' for 'zeal', which is not a rating of this"),
    ("a space as text", "score", column(space="layer1.cls"), "fails: score 'coverage': its space is a str, not a Feat"),
    ("another space", "score", column(space=OTHER), "gave 'coverage' of layer9.cls, which is not a space of this run"),
    ("text in one space", "score",
     each(lambda one: changed(one, values=["x"] * len(one.values)) if getattr(one, "space", SPACE).layer > 3 else one),
     "gave the column 'coverage' of layer7.cls with text, and that of layer1.cls with numbers; a column has one or"),
    ("an infinite fact", "score", fact(np.inf), "fails: fact 'mine': the number inf; a fact is a finite number, text,"),
    ("an infinite number in a fact", "score", fact({"a": [1, -np.inf]}), "fails: fact 'mine': the number -inf at ['a'"),
    ("a fact that is an object", "score", fact(object()), "fails: fact 'mine': an object; a fact is a finite number,"),
    ("a fact without a name", "score", fact(1, None), "fails: the name of a ScoreFact is None, not text"),
    ("another fact of its name", "score", adding(lambda data: saeviz.ScoreFact("n", data.space.layer)),
     "gave the fact 'n' as 7, a"),
    ("few numbers of images", "score", adding(lambda _: saeviz.ImageColumn("x", [1.0])), "gave 'x' of 1 images, but t"),
    ("infinite numbers of images", "score", adding(lambda data: saeviz.ImageColumn("x", [np.inf] * data.n_items)),
     "fails: image column 'x' has infinite values; use NaN for a missing one"),
    ("pairs in lists", "score", adding(lambda data: saeviz.PairBlock("x", data.space, ("warmth",), {"r": [[1.0]]})),
     "fails: pairs 'x' of layer1.cls: r is a list, not float[1, 32]"),
    ("nothing combined", "combine", gives(lambda: None), "returned None from combine, which must give ScoreColumn, Im"),
    ("an exception", "score", lambda _: raising, "fails with KeyError: 'inside'"),
]  # fmt: skip
SELECTOR = [
    ("None", "select", gives(lambda: None), "returned None from select, not a list of Selected objects"),
    ("one feature", "select", wrap(lambda found: found[0]), "returned a Selected from select, not a list of Selected"),
    ("a generator", "select", wrap(lambda found: (one for one in found)), "returned a generator from select, not a li"),
    ("text", "select", gives(lambda: ["layer1.cls/1"]), "gave a str from select, which must give Selected objects"),
    ("features", "select", gives(lambda: [FEATURE]), "gave a Feature from select, which must give Selected objects"),
    ("a feature twice", "select", wrap(lambda found: found * 2), "chose layer1.cls/0 2 times; a feature is"),
    ("another feature", "select", gives(lambda: [saeviz.Selected(OTHER.feature(1), 1, "x")]),
     "chose layer9.cls/1, which t"),
    ("a feature as text", "select", gives(lambda: [saeviz.Selected("layer1.cls/1", 1, "x")]),
     "fails: a Selected of a str,"),
    ("a tier as text", "select", selected("1"), "fails: layer1.cls/0: the tier '1'; tiers are whole numbers, and the"),
    ("tier 0", "select", selected(0), "fails: layer1.cls/0: the tier 0; tiers are whole numbers, and the best is 1"),
    ("a tier that is a truth", "select", selected(True), "fails: layer1.cls/0: the tier True; tiers are whole numbers"),
    ("tiers out of order", "select", selected(2, 1), "chose layer1.cls/1 of tier 1 after layer1.cls/0 of tier 2; the"),
    ("a rating that is a number", "select", selected(1, rating=3), "fails: layer1.cls/0: the rating of its selection"),
    ("a rating of no run", "select", selected(1, rating="zeal"), "chose layer1.cls/0 for the rating 'zeal', which thi"),
    ("no reason", "select", selected(1, reason=None), "fails: layer1.cls/0: the reason of its selection is None, not"),
    ("no cut-offs", "tier_cutoffs", gives(lambda: None), "returned None from tier_cutoffs, not a list of TierCutoff o"),
    ("cut-offs in tuples", "tier_cutoffs", gives(lambda: [(1, 0.5, 0.2)]), "gave a tuple from tier_cutoffs, which mus"),
    ("halves in words", "n_halves", has("some"), "has 'some' as n_halves, which must be a whole number, 0 or more"),
    ("halves that fail", "n_halves", unheard, "fails with AttributeError: 'list' object has no attribute 'nothing'"),
    ("an exception", "select", lambda _: raising, "fails with KeyError: 'inside'"),
]  # fmt: skip
LABELER = [
    ("None", "label", gives(lambda: None), "returned None from label for layer1.cls/0, not a FeatureLabel"),
    ("text", "label", gives(lambda: "red"), "returned a str from label for layer1.cls/0, not a FeatureLabel"),
    ("a list", "label", gives(lambda: [LABEL]), "returned a list from label for layer1.cls/0, not a FeatureLabel"),
    ("a label of None", "label", label(label=None), "gave a label of layer1.cls/0 whose label is NoneType, not str"),
    ("elements as numbers", "label", label(elements=(1,)), "gave a label of layer1.cls/0 whose elements is not a tupl"),
    ("details in a list", "label", label(details=["a"]), "named layer1.cls/0 with a list as details, not a mapping"),
    ("details of bytes", "label", label(details={"a": b"x"}), "named layer1.cls/0 with details that cannot be written"),
    ("NaN in details", "label", label(details={"a": [np.nan]}), "named layer1.cls/0 with details that cannot be writt"),
    ("a confidence of True", "label", label(confidence=True), "gave a label of layer1.cls/0 whose confidence is bool,"),
    ("a confidence in words", "label", label(confidence="0.8"), "gave a label of layer1.cls/0 whose confidence is str"),
    ("threads that fail", "concurrency", unheard, "fails with AttributeError: 'list' object has no attribute 'nothing"),
    ("no threads", "concurrency", has(0), "has 0 as concurrency, which must be a whole number, 1 or more"),
    ("threads in words", "concurrency", has("many"), "has 'many' as concurrency, which must be a whole number, 1 or m"),
    ("an exception", "label", lambda _: raising, "fails with KeyError: 'inside'"),
    ("a picture that ends it", "label", gives(UNREADABLE.open), "ends the run because of one p"),
]  # fmt: skip
JUDGE = [
    ("None", "judge", gives(lambda: None), "returned None from judge for layer1.cls/"),
    ("a list", "judge", wrap(lambda scores: scores.tolist()), "returned a list from judge for layer1.cls/"),
    ("too few scores", "judge", wrap(lambda scores: scores[1:]), "returned an array of shape ("),
    ("scores above 1", "judge", wrap(lambda scores: scores + 1), "judged layer1.cls/"),
    ("text", "judge", wrap(lambda scores: scores.astype(str)), "returned an array of <U32 from judge for layer1.cls/"),
]  # fmt: skip
REPORTER = [
    ("None", "write", gives(lambda: None), "returned None from write, not the path of its report"),
    ("a number", "write", gives(lambda: 3), "returned an int from write, not the path of its report"),
    ("a list", "write", wrap(lambda path: [path]), "returned a list from write, not the path of its report"),
    ("a report that is not there", "write", gives(lambda: "nowhere.html"), "says that it wrote nowhere.html, which is"),
    ("a folder", "write", gives(lambda: "."), "returned the folder . from write, not the file to open"),
    ("an exception", "write", lambda _: raising, "fails with KeyError: 'inside'"),
]  # fmt: skip
EXECUTOR = [
    ("None", "map", gives(lambda: None), "returned None from map, not a generator of Step objects"),
    ("a list", "map", wrap(list), "returned a list from map, not a generator of Step objects"),
    ("text", "map", each(lambda _: "done"), "gave a str from map, which must give Step objects"),
    ("a step of a number", "map", each(lambda step: step._replace(shard=1)), "gave a Step without a Shard or without"),
    ("a shard is lost", "map", lambda original: lambda self, work, all_: original(self, work, all_[1:]),
     "has left 1 shar"),
    ("shards that nobody did", "map",
     lambda _: lambda _self, _work, shards: (saeviz.Step(one, "w", 0, True) for one in shards), "called shard 0"),
    ("no size", "shard_items", has(0), "has 0 as shard_items, which must be a whole number, 1 or more"),
    ("no size but None", "shard_items", has(None), "has None as shard_items, which must be a whole number, 1 or more"),
    ("None as in_process", "in_process", has(None), "has None as in_process, which must be True or False"),
    ("an exception", "map", lambda _: lambda *_: (raising() for _ in [1]), "fails with KeyError: 'inside'"),
]  # fmt: skip
ODD_ERRORS = [
    ("a cancelled task", "label", lambda _: leaving, "fails with CancelledError"),
    ("an exception without words", "label", lambda _: speechless, "fails with SpeechlessError: <exception str() fai"),
    ("an exception in lines", "label", lambda _: wordy, r"fails with ValueError: one\ntwo \x1b[31mlong long"),
]
"""What no `except Exception` catches, or fails when it is written into a message."""
BROKEN: dict[str, list[Row]] = {
    "images": [Row(*row) for row in IMAGES],
    "extractor": [Row(*row) for row in EXTRACTOR],
    "store": [Row(*row) for row in STORE],
    "embeddings": [Row(*row) for row in EMBEDDINGS],
    "scorer": [Row(*row) for row in SCORER],
    "selector": [Row(*row) for row in SELECTOR],
    "labeler": [Row(*row) for row in LABELER],
    "judge": [Row(*row) for row in JUDGE],
    "reporter": [Row(*row) for row in REPORTER],
    "executor": [Row(*row) for row in EXECUTOR],
}
KINDS["judge"] = FakeLabeler
