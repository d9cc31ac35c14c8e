"""How often features are selected again by random halves of the images: against a loop that does all of it by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

import saeviz
from saeviz import KEYS, ImageItem, ScoreTable
from saeviz.pipeline.run import Plan
from saeviz.pipeline.stability import halves
from saeviz_correlation.options import BootstrapOptions
from saeviz_correlation.scorer import PearsonBH
from saeviz_tiered import TieredOptions
from saeviz_tiered.selector import TieredSelector
from tests.conftest import FAKE_RUN
from tests.plugins.correlations import make_input


def taken(items, n=6, seed=0):
    found = halves(items, seed)
    return [next(found) for _ in range(n)]


def ids_of(items):
    return {item.item_id for item in items}


def test_halves_are_random_and_each_is_followed_by_the_other():
    items = [ImageItem(f"image {n}", b"") for n in range(11)]
    found = taken(items)
    assert [len(part) for part in found] == [5, 6] * 3
    for one, other in zip(found[::2], found[1::2], strict=True):
        assert ids_of(one) ^ ids_of(other) == ids_of(items)
    assert len({tuple(ids_of(part)) for part in found}) == 6
    assert list(map(ids_of, taken(items[::-1]))) == list(map(ids_of, found)), "the order of images changes nothing"
    assert taken(items, seed=1) != found


def test_images_of_a_group_stay_together():
    items = [ImageItem(f"image {n}", b"", group=f"series {n // 4}" if n < 16 else None) for n in range(20)]
    for part in taken(items):
        sizes = Counter(item.group for item in part if item.group)
        assert set(sizes.values()) <= {4}
        assert len(sizes) + sum(item.group is None for item in part) == 4


@pytest.mark.parametrize(
    "settings", [["images.n=24", "images.groups=1"], ["images.n=24", "images.groups=3"], ["images.n=3"]]
)
def test_too_few_images_or_groups_for_halves_have_no_stability(tmp_path, settings, caplog):
    path = tmp_path / "run.toml"
    path.write_text(FAKE_RUN + f'[selector]\nuse = "tiered"\nstability = 20\n[run]\ndir = "{tmp_path / "run"}"\n')
    run = saeviz.run(path, settings=settings, plan=Plan(last="select"))
    assert {choice.selection_stability for choice in run.selected} <= {None}
    assert "are too few to select again by halves" in caplog.text


@pytest.mark.slow
def test_the_share_is_that_of_a_loop_by_hand(tmp_path):
    """Half of the images, correlated again, selected again."""
    path = tmp_path / "run.toml"
    selector = '[selector]\nuse = "tiered"\nlimit = 12\nr_good = 0.4\nstability = 20\n'
    path.write_text(FAKE_RUN + selector + f'[run]\ndir = "{tmp_path / "run"}"\nseed = 3\n')
    settings = ["scorers.1.min_active=2", "images.n=60", "images.groups=25"]
    run = saeviz.run(path, settings=settings, plan=Plan(last="select"))
    features = {
        space: np.stack([run.activations(f"{space}/{n}") for n in range(space.n_features)], axis=1)
        for space in run.spaces
    }
    ids = [item.item_id for item in run.items]
    table = ScoreTable(run.scores, run.correlations, tuple(run.spaces), dict(run.facts))
    tiered = TieredSelector(TieredOptions(limit=12, r_good=0.4), saeviz.Context())
    tiers = {choice.feature: choice.tier for choice in tiered.select(table)}
    again, in_tier = Counter(), Counter()
    for items in taken(run.items, 20, seed=3):
        rows = [ids.index(item.item_id) for item in items]
        ratings = {name: np.array([item.ratings.get(name, np.nan) for item in items]) for name in run.ratings}
        scorer, columns = PearsonBH(BootstrapOptions(min_active=2), saeviz.Context(seed=3)), []
        for space, dense in features.items():
            groups = tuple(item.group for item in items)
            columns += scorer.score(make_input(dense[rows], ratings, layer=space.layer, groups=groups))
        columns += [one for one in scorer.combine(columns) if isinstance(one, saeviz.ScoreColumn)]
        for choice in tiered.select(replace(table, correlations=_table(columns))):
            again[choice.feature] += 1
            in_tier[choice.feature] += tiers.get(choice.feature) == choice.tier
    assert {choice.feature for choice in run.selected} == tiers.keys()
    for choice in run.selected:
        assert choice.selection_stability == pytest.approx(again[choice.feature] / 20)
        assert choice.tier_stability == pytest.approx(in_tier[choice.feature] / 20)
    assert 0 < min(choice.selection_stability for choice in run.selected) < 1


def _table(columns):
    tables = {}
    for one in columns:
        keys = {"layer": one.space.layer, "feature": np.arange(one.space.n_features), "rating": one.target}
        tables.setdefault((one.space, one.target), keys)[one.name] = one.values
    found = pd.concat([pd.DataFrame(values) for values in tables.values()], ignore_index=True)
    found = found.assign(sae="", tokens="cls")
    return found[[*KEYS, *(name for name in found if name not in KEYS)]]


@pytest.mark.slow
def test_it_is_shown_and_written_only_if_asked_for(finished_run, saeviz_command):
    run = saeviz.run(finished_run)
    assert run.selected[0].selection_stability is None
    assert "stability" not in (run.dir / "selected.csv").read_text()
    scorers = 'scorers=[{use = "spearman", name = "ranks", min_active = 3}]'
    run = saeviz.run(finished_run, settings=["selector.stability=20", scorers])
    columns = list(pd.read_csv(run.dir / "selected.csv").filter(like="_stability"))
    assert columns == ["selection_stability", "tier_stability"]
    assert run.manifest["stages"]["select"]["counts"]["halves"] == 20
    best = run.selected[0]
    assert best.tier_stability <= best.selection_stability <= 1
    told = saeviz_command("show", str(best.feature), "--run", run.dir).out
    assert f"selected again by {100 * best.selection_stability:.0f} % of random halves of the images" in told


def test_a_run_without_correlations_is_refused_before_it_starts(fake_run):
    with pytest.raises(saeviz.ConfigError, match=r"selector: tiered is to select again .* no scorer of this run"):
        saeviz.run(fake_run, settings=["selector.stability=100", 'scorers=[{use = "monosemanticity"}]'])


def test_few_halves_are_refused():
    with pytest.raises(ValidationError, match="at least 20"):
        TieredOptions(stability=19)
