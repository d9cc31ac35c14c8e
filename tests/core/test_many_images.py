"""More images than a run holds: they are listed again when something is done with each."""

from __future__ import annotations

import textwrap
import tracemalloc

import numpy as np
import pytest

import saeviz
from saeviz.pipeline.dataset import Dataset
from saeviz.pipeline.images import Images, Listing
from saeviz.pipeline.run import Plan
from saeviz.toolkit.shard_places import ItemPlaces
from saeviz.values.images import ImageItem
from saeviz.values.texts import Marks
from tests.sharded import RUN, alone, assert_same, run

EXTRACT = Plan(last="extract")

CHEAP = """
    from itertools import islice
    import numpy as np
    from scipy.sparse import csr_array
    import saeviz

    SPACE = saeviz.FeatureSpace(1, "cls", 8)

    class Options(saeviz.Options):
        n: int = 10
        shuffled: bool = False

    class Images:
        def __init__(self, options, context):
            self.n, self.listed, self.shuffled = options.n, 0, options.shuffled

        def iter_images(self, filter_labeled=False, limit=None):
            self.listed += 1
            places = range(self.n)[::-1] if self.shuffled and self.listed > 1 else range(self.n)
            return islice(map(self.item, places), limit)

        def get_image(self, item_id):
            return self.item(int(item_id[6:]))

        def item(self, place):
            return saeviz.ImageItem(f"image {place}", self.item, {"a": float(place)}, version="first")

    class Features:
        spaces = [SPACE]

        def __init__(self, options, context):
            pass

        def extract(self, items):
            items = iter(items)
            while ids := tuple(item.item_id for item in islice(items, 500)):
                yield saeviz.FeatureBatch(SPACE, ids, csr_array(np.ones((len(ids), 8), np.float32)))

    @saeviz.hookimpl
    def saeviz_image_providers():
        return [saeviz.ImageProviderSpec(name="cheap", summary="cheap", factory=Images, options=Options)]

    @saeviz.hookimpl
    def saeviz_feature_extractors():
        return [saeviz.FeatureExtractorSpec(name="cheap", summary="cheap", factory=Features)]
"""


@pytest.fixture
def cheap(tmp_path, monkeypatch):
    """Runs as far as features, of images and features that cost nothing; more than 500 images are many."""
    monkeypatch.setattr(Dataset, "most_held", 500)
    (tmp_path / "cheap.py").write_text(textwrap.dedent(CHEAP))
    (tmp_path / "run.toml").write_text(
        '[plugins]\nuse = ["cheap.py"]\n[images]\nuse = "cheap"\n[extractor]\nuse = "cheap"\n'
        '[embeddings]\nuse = "none"\n[run]\ncache = false\n'
    )

    def made(n, *settings):
        given = [f"images.n={n}", f"run.dir={tmp_path / str(n)}", *settings]
        return saeviz.run(tmp_path / "run.toml", settings=given, plan=EXTRACT)

    return made


@pytest.mark.parametrize("shared", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_same_as_of_few(tmp_path, monkeypatch, shared):
    (tmp_path / "run.toml").write_text(RUN)
    expected = alone(tmp_path / "run.toml", plan=Plan(last="score"))
    monkeypatch.setattr(Dataset, "most_held", 3)
    made = (run if shared else alone)(tmp_path / "run.toml", "many", plan=Plan(last="score"))
    assert_same(made, expected)
    for table in ("items.parquet", "scores.parquet", "images.parquet"):
        assert (made.dir / table).read_bytes() == (expected.dir / table).read_bytes(), table


def test_images_that_change_meanwhile_end_the_run(cheap):
    with pytest.raises(saeviz.DataError, match="number 1 is 'image 899', and was 'image 0' when the run began"):
        cheap(900, "images.shuffled=true")


def test_no_object_is_held_of_each_image():
    """In memory are ids and fingerprints, where each is, and where the store has it."""
    n, at_a_time = 6000, 500

    def listed():
        return (ImageItem(f"image {place}", listed, {"a": 1.0}, version="first") for place in range(n))

    tracemalloc.start()
    images = Images(Listing.of(listed(), at_a_time, listed, lambda item_id: None))
    written, stored = Marks(images.where), []
    places = ItemPlaces(lambda key, row: stored[key][row])
    for key, first in enumerate(range(0, n, at_a_time)):
        stored.append(images.ids[first : first + at_a_time])
        rows = np.arange(at_a_time)
        places.put(stored[-1], np.full(at_a_time, key), rows, apart=False)
        written.update(stored[-1])
    assert sum(item.ratings["a"] for item in images.only(written.mask)) == n
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / n < 150
    assert peak / n < 300
