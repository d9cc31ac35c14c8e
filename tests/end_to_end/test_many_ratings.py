"""A run with more ratings than a table of all correlations could hold, from the images to the report."""

from __future__ import annotations

import json

import numpy as np
import pytest

import saeviz
from saeviz_correlation import many
from tests.conftest import FAKE_RUN
from tests.report_data import report_of

pytestmark = pytest.mark.slow

N_RATINGS = 130

VOXELS = """
from dataclasses import replace

import numpy as np
import saeviz
from saeviz.testing.fakes import FakeImages, FakeImagesOptions

class Voxels(FakeImages):
    def _item(self, number):
        item = super()._item(number)
        noise = np.random.default_rng(number).normal(size=NUMBER)
        ratings = {f"voxel {n}": float(item.ratings["warmth"] * (n % 4 == 0) + noise[n]) for n in range(NUMBER)}
        return replace(item, ratings=ratings)

@saeviz.hookimpl
def saeviz_image_providers():
    yield saeviz.ImageProviderSpec(name="voxels", summary="many ratings", options=FakeImagesOptions, factory=Voxels)
""".replace("NUMBER", str(N_RATINGS))


@pytest.fixture(scope="module")
def run(clean_environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("voxels")
    (folder / "voxels.py").write_text(VOXELS)
    text = FAKE_RUN.replace('use = "fake-images"\nn = 24', 'use = "voxels"\nn = 60')
    text = text.replace('use = "fake-reporter"', 'use = "html"').replace('-bh"', '-bh"\nmin_active = 5')
    text = text.replace('"module:saeviz.testing.fakes"', '"module:saeviz.testing.fakes", "voxels.py"')
    (folder / "fake.toml").write_text(text + "[selector]\nlimit = 8\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(many, "PER_RATING", 20)
        return saeviz.run(folder / "fake.toml")


def test_the_table_is_short_and_the_page_says_what_was_tested(run, saeviz_command):
    facts = run.facts
    n_features = sum(space.n_features for space in run.spaces)
    assert len(run.correlations) < n_features * N_RATINGS == 64 * N_RATINGS
    assert set(run.correlations["rating"]) == set(run.ratings)
    tested = sum(facts[f"correlation_tested_{name}"] for name in run.ratings)
    assert tested == facts["correlation_family_size"] > len(run.correlations)
    found = sum(facts[f"correlation_significant_{name}"] for name in run.ratings)
    assert run.scores["n_significant"].sum() == found > 0
    report = report_of(run)
    [note] = [note for note in report.run["notes"] if note.startswith("All features were tested with all 130 ratings")]
    assert "The tables keep the strongest 20 correlations" in note
    assert not [name for name, _ in report.run["facts"] if name.endswith("tested voxel 7")]
    assert len(report.rating) == 100
    strongest = run.scores.loc[run.scores["strongest_r"].abs().idxmax()]["strongest"]
    tested, significant, positive = (
        facts[f"correlation_{kind}_{strongest}"] for kind in ("tested", "significant", "positive")
    )
    shown = report.rating[strongest]
    assert (shown["tested"], shown["positive"], shown["negative"]) == (tested, positive, significant - positive)
    overview = report.run
    assert len({column["rating"] for column in overview["columns"]}) == 101
    assert run.selected
    assert saeviz_command("show", str(run.selected[0].feature), "--run", str(run.dir)).out.count("voxel") <= 40


def test_a_comparison_refuses_tables_without_the_weak_ones(run):
    with pytest.raises(saeviz.ConfigError, match="has 130 ratings and keeps the strongest correlations of each only"):
        saeviz.compare(run, run)


def test_the_strongest_are_what_a_run_of_few_ratings_finds(run):
    names = run.ratings[:10]
    settings = [f"run.dir={run.dir.parent / 'few'}", f"scorers.1.ratings={json.dumps(names)}"]
    few = saeviz.run(run.dir.parent.parent / "fake.toml", settings=settings)
    both = run.correlations.merge(few.correlations, on=[*saeviz.KEYS, "rating"], suffixes=("", "_few"))
    assert set(both["rating"]) == set(names)
    for column in ("n", "n_active", "r", "p", "ci_low", "ci_high"):
        np.testing.assert_allclose(both[column], both[f"{column}_few"], rtol=1e-9)


def test_features_are_assigned_from_the_table_that_keeps_the_strongest(run):
    with pytest.raises(saeviz.ConfigError, match="keeps the strongest 20 features of each of its 130 ratings"):
        saeviz.assign(run)
