"""`run_with`: a whole tiny run around one component."""

from __future__ import annotations

import re
from typing import ClassVar

import numpy as np
import pytest

import saeviz
from saeviz.testing import fakes, run_with
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "how-to" / "plugins.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_example_of_the_page_passes(tmp_path):
    known: dict[str, object] = {}
    exec(next(block for block in BLOCKS if "run_with" in block), known)
    known["test_a_run_has_the_column"](tmp_path)


def test_a_plugin_is_run_with_the_component_and_the_options_that_are_named(tmp_path):
    run = run_with(fakes, tmp_path / "run", use="fake-extractor", layers=[7], settings=["images.n=5"])
    assert [str(space) for space in run.spaces] == ["layer7.cls"]
    assert len(run.items) == 5


def test_a_plugin_that_is_installed_already_is_run_with(tmp_path):
    import saeviz_npz

    assert run_with(saeviz_npz, tmp_path / "run", encoding="scipy").features("layer1.cls").item_ids


@pytest.mark.parametrize(
    ("plugin", "use", "told"),
    [
        (fakes, "", "offers .*scorer 'fake-scorer'.*; say use=NAME"),
        (fakes, "absent", "offers .*; say use=NAME"),
        (object(), "", "is left out: it implements no hook"),
        (saeviz.ScorerSpec(name="npz", summary="", factory=fakes.FakeScorer, options=dict), "", "not a subclass"),
    ],
)
def test_what_cannot_be_run_is_told(tmp_path, plugin, use, told):
    with pytest.raises(saeviz.SaevizError, match=told):
        run_with(plugin, tmp_path / "run", use=use)


class Keeps(fakes.FakeScorer):
    """A scorer that keeps what it is given."""

    seen: ClassVar[list[saeviz.ScoreInput]] = []

    def score(self, data):
        self.seen.append(data)
        yield saeviz.ImageColumn(f"height {data.space}", np.arange(data.n_items))


def test_a_scorer_is_tried_on_what_those_of_a_finished_run_were_given(tmp_path):
    spec = saeviz.ScorerSpec(name="keeps", summary="", factory=Keeps)
    settings = ["images.broken=1", "images.unrated=2", "images.groups=3"]
    run = run_with(spec, tmp_path / "run", settings=settings)
    for data in Keeps.seen:
        found = run.score_input(data.space)
        assert (found.space, list(found.item_ids)) == (data.space, list(data.item_ids))
        assert list(found.groups) == list(data.groups)
        assert (found.features.matrix() != data.features.matrix()).nnz == 0
        np.testing.assert_array_equal(found.embeddings, data.embeddings)
        assert found.second_embeddings is None
        assert list(found.ratings) == list(data.ratings)
        for name, values in data.ratings.items():
            np.testing.assert_array_equal(found.ratings[name], values)
        assert {name: list(texts) for name, texts in found.metadata.items()} == {
            name: list(texts) for name, texts in data.metadata.items()
        }
        assert found.of_images["height layer2.cls"].tolist() == list(range(11))
        with pytest.raises(ValueError, match="read-only"):
            found.embeddings[0] = 0
    scores = fakes.FakeScorer(saeviz.Options(), saeviz.Context()).score(run.score_input("layer1.cls"))
    assert next(scores).name == "coverage"
