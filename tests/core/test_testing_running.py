"""`run_with`: a whole tiny run around one component."""

from __future__ import annotations

import re

import pytest

import saeviz
from saeviz.testing import fakes, run_with
from tests.conftest import ROOT

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8"), re.DOTALL)


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
