"""The gallery: pictures and ratings whose truth is known."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest
from pydantic import ValidationError

import saeviz
import saeviz_gallery
from saeviz.testing.images import ImageProviderContract
from saeviz_gallery import GalleryOptions
from saeviz_gallery.concepts import CONCEPTS, PALETTES, Picture, compose
from saeviz_gallery.drawing import draw
from saeviz_gallery.panel import PANEL
from saeviz_gallery.provider import Gallery

PLANTED = [(rating, concept, effect) for rating, effects in PANEL.items() for concept, effect in effects.items()]


def gallery(**options):
    return Gallery(GalleryOptions(**options), saeviz.Context())


def digest(provider):
    return sha256(b"".join(item.open().tobytes() for item in provider.iter_images())).hexdigest()


def presence(items):
    return np.array([[concept in item.metadata["concepts"].split(",") for concept in CONCEPTS] for item in items])


def effects(items, rating):
    """Ordinary least squares of the rating on the concepts: effect by concept.

    Every picture has one palette and one ground, so each is measured against those of its kind that no rating is about.
    """
    present = presence(items).astype(float)
    ratings = np.array([item.ratings[rating] for item in items])
    columns = [c for c in CONCEPTS if c not in {"cold", "warm", "gradient", "stripes", "grid"}]
    design = np.c_[np.ones(len(items)), present[:, [CONCEPTS.index(c) for c in columns]]]
    solution = np.linalg.lstsq(design, ratings, rcond=None)[0]
    return dict(zip(columns, solution[1:], strict=True))


# Pictures


def test_the_same_seed_gives_the_same_pictures_and_ratings():
    one, again = gallery(count=20, size=48), gallery(count=20, size=48)
    assert digest(one) == digest(again)
    assert [i.ratings for i in one.iter_images()] == [i.ratings for i in again.iter_images()]


def test_another_seed_gives_other_pictures_and_ratings():
    one, other = gallery(count=20, size=48), gallery(count=20, size=48, seed=1)
    assert digest(one) != digest(other)
    assert [i.ratings for i in one.iter_images()] != [i.ratings for i in other.iter_images()]


def test_a_smaller_gallery_is_the_beginning_of_a_larger_one():
    few, many = list(gallery(count=5, size=32).iter_images()), list(gallery(count=50, size=32).iter_images(limit=5))
    assert [(i.item_id, i.ratings, i.metadata) for i in few] == [(i.item_id, i.ratings, i.metadata) for i in many]
    assert [i.open().tobytes() for i in few] == [i.open().tobytes() for i in many]


def test_no_picture_was_seen_in_training():
    drawn = {compose("gallery:0", index).seed for index in range(480)}
    assert drawn.isdisjoint(compose("training", index).seed for index in range(27_000))


def test_pictures_are_drawn_when_they_are_opened_and_not_before(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "saeviz_gallery.provider.draw", lambda picture, size: (drawn.append((picture, size)), draw(picture, size))[1]
    )
    items = list(gallery(count=9, size=40).iter_images())
    assert drawn == []
    items[3].open()
    assert drawn == [(compose("gallery:0", 3), 40)]


def test_every_combination_can_be_drawn_at_any_size():
    for index in range(60):
        for size in (16, 57):
            image = draw(compose("any", index), size)
            assert (image.mode, image.size) == ("RGB", (size, size))


@pytest.mark.parametrize("concept", [c for c in CONCEPTS if c not in PALETTES])
def test_every_concept_changes_the_picture(concept):
    """A picture with the concept and the same one without differ in many pixels."""
    found = next(p for p in (compose("pair", index) for index in range(2000)) if concept in p.concepts)
    without = Picture(
        found.seed,
        found.palette,
        "plain" if found.ground == concept != "plain" else "rays" if concept == "plain" else found.ground,
        tuple(part for part in found.parts if part != concept),
        tuple(shape for shape in found.shapes if shape != concept),
        tuple(extra for extra in found.extras if extra != concept),
    )
    assert concept not in without.concepts
    changed = np.asarray(draw(found, 64)) != np.asarray(draw(without, 64))
    assert changed.any(axis=-1).mean() > 0.02


def test_palettes_are_what_they_say():
    """Mean red-green-blue, lightness and saturation of pictures by palette."""
    means = {}
    for palette in PALETTES:
        pictures = [p for p in (compose("palettes", i) for i in range(300)) if p.palette == palette][:20]
        pixels = np.concatenate([np.asarray(draw(p, 32), dtype=float).reshape(-1, 3) for p in pictures])
        means[palette] = (*pixels.mean(axis=0), np.ptp(pixels, axis=1).mean())
    red, _, blue, _ = means["warm"]
    assert red > blue + 60
    red, _, blue, _ = means["cold"]
    assert blue > red + 60
    assert min(means["pastel"][:3]) > max(means["dark"][:3]) + 100
    assert means["monochrome"][3] == 0
    assert means["vivid"][3] == max(spread for *_, spread in means.values())


def test_symmetric_pictures_are_their_own_reflection():
    pictures = [p for p in (compose("mirror", index) for index in range(200)) if "symmetry" in p.extras]
    for picture in pictures[:10]:
        pixels = np.asarray(draw(picture, 63))
        assert (pixels == pixels[:, ::-1]).all()


def test_metadata_tells_what_is_in_a_picture():
    item = next(i for i in gallery().iter_images() if "sun" in i.metadata["concepts"].split(","))
    concepts = item.metadata["concepts"].split(",")
    assert set(concepts) <= set(CONCEPTS)
    assert "landscape" in concepts
    assert all(concept in item.metadata["caption"] for concept in concepts)


def test_every_planted_concept_is_common_enough_to_be_found():
    shares = dict(zip(CONCEPTS, presence(gallery().iter_images()).mean(axis=0), strict=True))
    for _, concept, _ in PLANTED:
        assert 0.07 < shares[concept] < 0.35, concept


# Ratings


@pytest.mark.parametrize(("rating", "concept", "effect"), PLANTED)
def test_the_panel_likes_and_dislikes_what_it_says(rating, concept, effect):
    items = list(gallery(count=2000).iter_images())
    assert effects(items, rating)[concept] == pytest.approx(effect, abs=1.5)


@pytest.mark.parametrize("rating", PANEL)
def test_the_panel_does_not_care_about_the_rest(rating):
    found = effects(list(gallery(count=2000).iter_images()), rating)
    indifferent = [effect for concept, effect in found.items() if concept not in PANEL[rating]]
    assert max(map(abs, indifferent)) < 1.5


def test_ratings_stay_on_the_slider():
    ratings = [value for item in gallery().iter_images() for value in item.ratings.values()]
    assert min(ratings) >= 0
    assert max(ratings) <= 100
    assert np.std(ratings) > 4


def test_shuffled_ratings_carry_nothing():
    """The same ratings as a set, and no concept explains any of them beyond chance."""
    straight, shuffled = list(gallery().iter_images()), list(gallery(shuffle_ratings=True).iter_images())
    assert [i.open().tobytes() for i in straight[:3]] == [i.open().tobytes() for i in shuffled[:3]]
    present = presence(straight).astype(float)
    for rating in PANEL:
        before, after = ([i.ratings[rating] for i in items] for items in (straight, shuffled))
        assert sorted(before) == sorted(after)
        r = np.corrcoef(present.T, after)[-1, :-1]
        assert np.abs(r).max() < 0.16, "|r| of 0.16 has p = 0.0005 with 480 pictures"


# The role


class TestGalleryKeepsToItsRole(ImageProviderContract):
    component = Gallery
    n_images = 6

    @pytest.fixture
    def provider(self):
        return gallery(count=6, size=32)


def test_a_picture_of_another_seed_or_size_is_another_version():
    versions = {next(gallery(**o).iter_images()).fingerprint for o in ({}, {"seed": 1}, {"size": 64})}
    assert len(versions) == 3
    (same,) = {next(gallery(count=n, shuffle_ratings=n == 9).iter_images()).fingerprint for n in (3, 9)}
    assert same


def test_images_come_in_order_and_by_id():
    provider = gallery(count=12)
    ids = [item.item_id for item in provider.iter_images()]
    assert ids == sorted(ids)
    assert ids[7] == "gallery/0007"
    assert len(ids) == 12
    assert provider.get_image("gallery/0007") == next(i for i in provider.iter_images() if i.item_id == "gallery/0007")
    assert provider.get_image("gallery/0012") is None
    assert len(list(provider.iter_images(filter_labeled=True, limit=5))) == 5


@pytest.mark.parametrize("options", [{"count": 0}, {"size": 4}, {"seed": -1}, {"colour": "red"}])
def test_options_that_make_no_gallery_are_refused(options):
    with pytest.raises(ValidationError, match=next(iter(options))):
        GalleryOptions(**options)


def test_the_plugin_offers_the_provider_with_a_demo():
    (spec,) = saeviz_gallery.saeviz_image_providers()
    assert (spec.name, spec.options) == ("gallery", GalleryOptions)
    package, _, path = spec.example.partition(":")
    assert package == "saeviz_gallery"
    assert path == "demo/run.toml"
