"""Every fake keeps to the contract of its role, and together they make a pipeline."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import saeviz
from saeviz.testing import (
    EmbeddingProviderContract,
    FeatureExtractorContract,
    FeatureStoreContract,
    ImageProviderContract,
    LabelerContract,
    ScorerContract,
    SelectorContract,
    fakes,
)
from saeviz.testing.data import Surroundings, pictures


class TestFakeImages(ImageProviderContract):
    component = fakes.FakeImages
    n_images = 9

    @pytest.fixture
    def provider(self):
        return fakes.FakeImages(fakes.FakeImagesOptions(n=9, broken=2, unrated=3), saeviz.Context())


class TestMemoryStore(FeatureStoreContract):
    component = fakes.MemoryStore
    durable = False

    @pytest.fixture
    def open_store(self):
        return fakes.MemoryStore


class TestFakeEmbeddings(EmbeddingProviderContract):
    component = fakes.FakeEmbeddings

    @pytest.fixture
    def make(self):
        return lambda context: fakes.FakeEmbeddings(fakes.Slow(), context)


class TestFakeExtractor(FeatureExtractorContract):
    component = fakes.FakeExtractor

    @pytest.fixture(params=[False, True])
    def make(self, request):
        options = fakes.FakeExtractorOptions(reconstruction_error=request.param, batch_size=2)
        return lambda context: fakes.FakeExtractor(options, context)


class TestFakeScorer(ScorerContract):
    component = fakes.FakeScorer

    @pytest.fixture
    def make(self):
        return lambda context: fakes.FakeScorer(saeviz.Options(), context)


class TestFakeSelector(SelectorContract):
    component = fakes.FakeSelector

    @pytest.fixture
    def make(self):
        return lambda context: fakes.FakeSelector(saeviz.Options(), context)


class TestFakeLabeler(LabelerContract):
    component = fakes.FakeLabeler

    @pytest.fixture
    def make(self):
        return lambda context: fakes.FakeLabeler(fakes.FakeLabelerOptions(), context)


def extractor(tmp_path, **options):
    surroundings = Surroundings(tmp_path)
    return fakes.FakeExtractor(fakes.FakeExtractorOptions(**options), surroundings.context), surroundings


def test_the_fake_extractor_is_able_to_do_all_that_an_extractor_can(tmp_path):
    fake, _ = extractor(tmp_path)
    for role in (saeviz.FeatureExtractor, saeviz.SingleImageExtractor, saeviz.TextAligned):
        assert isinstance(fake, role)


def test_the_fake_extractor_gives_the_same_features_in_any_batching(tmp_path):
    items = pictures(7)
    kept = []
    for batch_size in (1, 3, 100):
        store = fakes.MemoryStore()
        fake, _ = extractor(tmp_path, tokens=("cls", "patch-max"), batch_size=batch_size)
        for batch in fake.extract(items):
            store.write(batch)
        assert store.spaces() == sorted(fake.spaces)
        kept.append([next(store.read(space)).matrix.toarray().tobytes() for space in store.spaces()])
    assert kept[0] == kept[1] == kept[2]


def test_the_fake_extractor_reports_what_it_cannot_read_and_goes_on(tmp_path):
    fake, surroundings = extractor(tmp_path, batch_size=2)
    ids = [
        item_id for batch in fake.extract(pictures(6, broken=3)) if batch.space.layer == 1 for item_id in batch.item_ids
    ]
    assert ids == ["picture/0", "picture/1", "picture/2"]
    assert [subject for subject, _ in surroundings.failures] == ["picture/3", "picture/4", "picture/5"]


def test_one_picture_has_the_features_that_its_batch_has(tmp_path):
    fake, _ = extractor(tmp_path, tokens=("cls", "patch-max"))
    item = pictures(1)[0]
    cls, pooled = (batch.matrix.toarray()[0] for batch in fake.extract([item]) if batch.space.layer == 2)
    single = fake.extract_from_image(item, layer=2, top_k=3)
    assert single.features.tolist() == cls.tolist()
    assert single.top_values.tolist() == sorted(cls, reverse=True)[:3]
    assert fake.extract_spatial(item, layer=2).features.max(axis=0).tolist() == pooled.tolist()


def test_the_heatmap_shows_where_the_rectangle_is(tmp_path):
    red = next(item for item in pictures(40) if item.metadata["colour"] == "red")
    fake, _ = extractor(tmp_path)
    heatmap = fake.extract_spatial(red, layer=1).heatmap(0)
    redness = np.asarray(red.open().resize((4, 4)))[:, :, 0]
    assert heatmap.shape == (4, 4)
    assert heatmap.argmax() == redness.argmax()


def test_words_for_colours_lie_near_pictures_of_them(tmp_path):
    fake, _ = extractor(tmp_path)
    items = [item for item in pictures(30) if item.metadata["colour"] in {"red", "blue", "violet"}]
    near = fake.embed_images(items) @ fake.embed_texts(["red", "blue", "violet"]).T
    named = [["red", "blue", "violet"][best] for best in near.argmax(axis=1)]
    right = sum(name == item.metadata["colour"] for name, item in zip(named, items, strict=True))
    assert right >= 0.8 * len(items)


def test_redness_goes_with_warmth_and_noise_with_nothing(tmp_path):
    fake, _ = extractor(tmp_path, layers=(1,), batch_size=300)
    items = pictures(300)
    space, store = fake.spaces[0], fakes.MemoryStore()
    for batch in fake.extract(items):
        store.write(batch)
    ratings = {name: np.array([item.ratings[name] for item in items]) for name in ("warmth", "noise")}
    ids = tuple(item.item_id for item in items)
    data = saeviz.ScoreInput(space, ids, saeviz.FeatureStream(space, lambda: store.read(space)), None, ratings)
    columns = fakes.FakeScorer(saeviz.Options(), saeviz.Context()).score(data)
    r = {column.target: column.values for column in columns if getattr(column, "name", "") == "r"}
    red, blue = 0, 2
    assert r["warmth"][red] > 0.3
    assert r["warmth"][blue] < -0.3
    assert np.nanmax(np.abs(r["noise"])) < 0.25


def test_the_fakes_are_a_plugin_with_one_component_per_role():
    from saeviz.contract.specs import ROLES

    assert sorted(spec.role for spec in fakes.specs()) == sorted(ROLES)
    assert all(spec.name.startswith("fake-") for spec in fakes.specs())
    for spec in fakes.specs():
        implementation = getattr(fakes, spec.hook)
        assert [one.name for one in implementation()] == [spec.name]


@pytest.mark.slow
def test_the_fakes_need_neither_pytest_nor_torch():
    code = """
import sys
from saeviz import Context
from saeviz.testing.fakes import *
fake = FakeExtractor(FakeExtractorOptions(), Context())
assert list(fake.extract(FakeImages(FakeImagesOptions(), Context()).iter_images()))
sys.exit(bool({"pytest", "torch"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
