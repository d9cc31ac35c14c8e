"""Many texts in one piece of memory, and where each of them is."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saeviz.values.held_once import texts_held_once
from saeviz.values.texts import Groups, Places, Texts

TEXTS = st.lists(st.text(max_size=6))


@given(TEXTS)
def test_texts_are_a_sequence_of_the_same_texts(texts: list[str]) -> None:
    packed = Texts.of(iter(texts))
    assert list(packed) == texts
    assert [packed[place] for place in range(-len(texts), len(texts))] == texts * 2
    assert packed == tuple(texts)
    assert packed != [*texts, "more"]
    assert len({packed, tuple(texts)}) == 1


@given(TEXTS, TEXTS, st.integers(0, 6))
def test_packed_texts_are_compared_by_what_they_say(texts: list[str], other: list[str], first: int) -> None:
    for one in (texts, other):
        assert (Texts.of(one)[first:] == Texts.of(texts[first:])) == (one[first:] == texts[first:])


@given(st.lists(st.text(max_size=20) | st.text("ab\0", max_size=18)))
def test_the_order_is_that_of_a_sorted_list(texts: list[str]) -> None:
    assert Texts.of(texts).order().tolist() == sorted(range(len(texts)), key=texts.__getitem__)


@given(TEXTS, st.slices(8))
def test_slices_are_those_of_a_list(texts: list[str], part: slice) -> None:
    packed = Texts.of(texts)[part]
    assert list(packed) == texts[part]
    assert list(packed[1:]) == texts[part][1:]
    assert list(pickle.loads(pickle.dumps(packed))) == texts[part]


def test_more_than_are_decoded_together_come_in_order() -> None:
    texts = [f"image {n}" for n in range(10_000)]
    packed = Texts.of(texts)
    assert list(packed) == texts
    assert list(packed[5_000:9_500]) == texts[5_000:9_500]


@given(TEXTS.flatmap(lambda texts: st.tuples(st.just(texts), st.lists(st.sampled_from(range(len(texts) or 1))))))
def test_take_gives_any_places_and_those_of_a_mask(drawn: tuple[list[str], list[int]]) -> None:
    texts, places = drawn
    if not texts:
        return
    packed = Texts.of(texts)
    assert list(packed.take(np.array(places, np.int64))) == [texts[place] for place in places]
    mask = np.isin(np.arange(len(texts)), places)
    assert list(packed.take(mask)) == [text for text, is_taken in zip(texts, mask, strict=True) if is_taken]


def test_an_image_without_a_group_has_none() -> None:
    groups = Groups(Texts.of(["film", "", "film"]))
    assert list(groups) == ["film", None, "film"]
    assert groups == ("film", None, "film")
    assert (groups[1], groups[-1], list(groups[1:])) == (None, "film", [None, "film"])


def test_a_place_that_is_not_there_is_refused() -> None:
    with pytest.raises(IndexError):
        Texts.of(["a"])[1]


def test_half_a_character_survives() -> None:
    """File names on Linux need not be text."""
    assert list(Texts.of(["\udcff.jpg"])) == ["\udcff.jpg"]


@given(TEXTS, st.text(max_size=6))
def test_places_are_the_first_of_each_text(texts: list[str], other: str) -> None:
    places = Places(Texts.of(texts))
    assert places.of(texts).tolist() == [texts.index(text) for text in texts]
    assert (other in places) == (other in texts)
    assert places.find(other) == (texts.index(other) if other in texts else None)


@given(TEXTS)
def test_what_is_there_more_than_once_is_named(texts: list[str]) -> None:
    repeated = next((text for place, text in enumerate(texts) if text in texts[:place]), None)
    assert Places(Texts.of(texts)).first_repeated() == repeated


def test_equal_texts_and_where_they_are_is_in_memory_once() -> None:
    ids = [f"image {n}" for n in range(5_000)]
    one, other, unlike = map(texts_held_once, map(Texts.of, (ids, ids, [ids[0], "another", *ids[2:]])))
    assert other is one
    assert unlike[1] == "another"
    tracemalloc.start()
    places = [Places(one)]
    held = tracemalloc.get_traced_memory()[0]
    places.append(Places(other))
    assert tracemalloc.get_traced_memory()[0] < 1.1 * held
    tracemalloc.stop()
    assert [some.find("image 4999") for some in places] == [4999, 4999]
    assert Places(unlike).find("image 1") is None
