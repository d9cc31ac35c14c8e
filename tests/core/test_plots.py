"""Figures of a run hold the numbers of its tables, and can be changed."""

from __future__ import annotations

import importlib.util
import re

import numpy as np
import pandas as pd
import pytest

import saeviz
from saeviz import ConfigError, DataError
from saeviz.results import plots
from tests.conftest import FAKES, ROOT

HOSTILE = "$\\frac{\x1b[31m\u202e<b>$" + "x" * 10_000


@pytest.fixture
def run(finished_run):
    pytest.importorskip("matplotlib")
    return saeviz.open_run(finished_run.parent / "runs" / "fake", plugins=[FAKES])


def points(collection):
    return np.asarray(collection.get_offsets(), dtype=float)


def labelled(axes):
    """The scatters of axes by the first words of their label."""
    return {one.get_label().split(":")[0]: one for one in axes.collections}


def texts(figure):
    from matplotlib.text import Text

    return [one.get_text() for one in figure.findobj(Text) if one.get_text()]


def with_significant(run, n=4):
    """Half of the tested features significant, of both signs, with held-out r."""
    table = run.correlations
    generator = np.random.default_rng(0)
    tested = table["q"].notna().to_numpy()
    table = table.assign(
        r_held_out=np.where(tested, 0.8 * table["r"], np.nan),
        significant=np.where(tested, np.arange(len(table)) % 2, np.nan),
        replicated=np.where(tested, generator.integers(0, 2, len(table)), np.nan),
    )
    run.correlations = table
    return table


@pytest.mark.slow
def test_a_volcano_has_r_and_p_of_every_tested_feature(run):
    table = with_significant(run)
    rating = run.ratings[0]
    tested = table[(table["rating"] == rating) & table["q"].notna()]
    found = labelled(run.plot.volcano(rating).axes[1])

    own = {
        "not significant": tested[tested["significant"] == 0],
        "r > 0": tested[(tested["significant"] == 1) & (tested["r"] > 0)],
        "r < 0": tested[(tested["significant"] == 1) & (tested["r"] < 0)],
    }
    assert len(tested) > 3
    assert found.keys() == own.keys()
    for name, rows in own.items():
        np.testing.assert_allclose(points(found[name]), np.stack([rows["r"], -np.log10(rows["p"])], axis=1), atol=1e-12)
        assert found[name].get_label() == f"{name}: {len(rows)}"


def test_labels_stand_beside_the_most_certain_features_of_a_volcano(run):
    table = with_significant(run)
    rating = run.ratings[0]
    own = table[(table["rating"] == rating) & (table["significant"] == 1)]
    best = saeviz.features_of(own.nsmallest(1, "p"))[0]
    run.labels = {best: saeviz.FeatureLabel("stormy sea")}
    assert "stormy sea" in texts(run.plot.volcano(rating))
    assert "stormy sea" not in texts(run.plot.volcano(rating, named=0))


def test_replication_is_found_against_held_out_r(run):
    table = with_significant(run)
    rating = run.ratings[0]
    found = labelled(run.plot.replication(rating).axes[0])
    own = table[(table["rating"] == rating) & (table["significant"] == 1)]
    for name, replicated in (("replicated", 1), ("not replicated", 0)):
        rows = own[own["replicated"] == replicated]
        np.testing.assert_allclose(points(found[name]), rows[["r", "r_held_out"]])


def test_several_ratings_stand_side_by_side_on_one_scale(run):
    with_significant(run)
    figure = run.plot.replication(*run.ratings)
    assert [axes.get_title(loc="left") for axes in figure.axes] == run.ratings
    assert len({axes.get_xlim() for axes in figure.axes}) == 1


def test_the_strongest_features_have_their_interval_and_a_ring_for_another_column(run):
    table = with_significant(run)
    rating = run.ratings[0]
    tested = table[(table["rating"] == rating) & table["q"].notna()]
    best = tested.iloc[tested["r"].abs().argsort(kind="stable")[::-1][:5]]
    axes = run.plot.strongest(rating, n=5, also="r_held_out").axes[0]
    intervals, dots, rings, *_ = axes.collections

    ends = np.array([[path.vertices[0, 0], path.vertices[1, 0]] for path in intervals.get_paths()])
    np.testing.assert_allclose(ends, best[["ci_low", "ci_high"]])
    np.testing.assert_allclose(points(dots), np.stack([best["r"], np.arange(5)], axis=1))
    np.testing.assert_allclose(points(rings)[:, 0], best["r_held_out"])
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert all(str(feature) in name for feature, name in zip(saeviz.features_of(best), names, strict=True))
    with pytest.raises(ConfigError, match="no column 'r_other'"):
        run.plot.strongest(rating, also="r_other")


def test_what_features_explain_is_a_bar_each_below_the_ceiling(run):
    with pytest.raises(DataError, match='use = "prediction"'):
        run.plot.explained()
    rating = run.ratings[0]
    entries = [
        {"method": "ridge", "source": "features", "space": "all", "r2": 0.4},
        {"method": "ridge", "source": "embeddings", "space": "", "r2": -0.1},
        {"method": "lasso", "source": "features", "space": "all", "r2": None},
    ]
    facts = {"prediction": {rating: entries}, "reliability": {rating: {"reliability": 0.9}}}
    run.manifest = {**run.manifest, "stages": {**run.manifest["stages"], "score": {"facts": facts}}}
    (axes,) = run.plot.explained().axes
    assert [bar.get_width() for bar in axes.patches] == [0.4, -0.1]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["ridge all", "embeddings ridge"]
    assert axes.lines[0].get_xdata()[0] == 0.9


def test_a_figure_of_ones_own_may_have_the_style(run):
    import matplotlib

    size = matplotlib.rcParams["font.size"]
    with run.plot.style():
        assert matplotlib.rcParams["font.size"] == 8
    assert matplotlib.rcParams["font.size"] == size


def test_without_held_out_images_or_a_map_the_sentence_says_what_to_set(run):
    with pytest.raises(DataError, match="no images were held out; set split"):
        run.plot.replication(run.ratings[0])
    with pytest.raises(DataError, match='use = "map"'):
        run.plot.map()


@pytest.mark.parametrize("draw", ["volcano", "replication", "ms", "map"])
def test_an_unknown_rating_or_score_is_named_with_those_there_are(run, draw):
    run.scores = run.scores.assign(map_x=0.0, map_y=0.0)
    with pytest.raises(ConfigError, match=f"'beauti'.*there are: .*{run.ratings[0]}"):
        getattr(run.plot, draw)("beauti")


def test_monosemanticity_against_images_a_rating_or_another_score(run):
    scores = run.scores.assign(other=np.arange(len(run.scores), dtype=float))
    run.scores = scores
    scored = scores[scores["monosemanticity"].notna()]
    rating = run.ratings[0]
    r = run.correlations[run.correlations["rating"] == rating].set_index(saeviz.KEYS)["r"].abs()

    def shown(figure):
        return np.concatenate([points(one) for one in figure.axes[0].collections])

    def expected(x):
        both = np.stack([np.asarray(x, dtype=float), scored["monosemanticity"]], axis=1)
        return both[np.isfinite(both[:, 0])]

    for against, x in (("n_active", scored["n_active"]), ("other", scored["other"])):
        assert sorted(map(tuple, shown(run.plot.ms(against)))) == sorted(map(tuple, expected(x)))
    with_r = expected([r.get(key, np.nan) for key in scored[saeviz.KEYS].itertuples(index=False, name=None)])
    assert sorted(map(tuple, shown(run.plot.ms(rating)))) == sorted(map(tuple, with_r))


def test_any_two_columns_are_drawn_against_each_other(run):
    run.scores = run.scores.assign(mine=np.arange(len(run.scores)) ** 0.5)
    figure = run.plot.scatter("mine", "n_active", run.ratings[0])
    drawn = np.concatenate([points(one) for one in figure.axes[0].collections])
    expected = zip(run.scores["mine"], run.scores["n_active"].astype(float), strict=True)
    assert sorted(map(tuple, drawn)) == sorted(expected)
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("mine", "n active [images]")
    with pytest.raises(saeviz.ConfigError, match="no rating or score 'beauty'"):
        run.plot.scatter("beauty", "mine")


def test_a_map_is_coloured_by_space_by_a_rating_or_by_a_score(run):
    generator = np.random.default_rng(0)
    n = len(run.scores)
    placed = np.arange(n) % 3 > 0
    x, y = np.where(placed, generator.random(n), np.nan), np.where(placed, generator.random(n), np.nan)
    kind = np.where(np.arange(n) % 2, "even", "")
    run.scores = run.scores.assign(map_x=x, map_y=y, kind=kind, weight=np.arange(n, dtype=float))
    every = sorted(zip(x[placed], y[placed], strict=True))

    by_space = run.plot.map().axes[0].collections
    assert sorted(map(tuple, np.concatenate([points(one) for one in by_space]))) == every
    assert {one.get_label().split(":")[0] for one in by_space} == {str(space) for space in run.spaces}
    by_kind = labelled(run.plot.map("kind").axes[0])
    assert {name: len(points(one)) for name, one in by_kind.items()} == {
        "even": (placed & (kind == "even")).sum(), "none": (placed & (kind == "")).sum(),
    }  # fmt: skip
    by_weight = labelled(run.plot.map("weight").axes[0])["weight"]
    at = {(one, other): weight for one, other, weight in zip(x, y, np.arange(n), strict=True)}
    assert [at[tuple(point)] for point in points(by_weight)] == by_weight.get_array().tolist()
    by_rating = run.plot.map(run.ratings[0]).axes[0].collections
    assert sum(len(points(one)) for one in by_rating) == placed.sum()


def test_a_feature_has_its_images_its_histogram_and_a_scatter_for_each_rating(run):
    feature = run.selected[0].feature
    activations, table = run.activations(feature), run.ratings_table
    figure = run.plot.feature(str(feature), top=3)
    pictures = [axes for axes in figure.axes if axes.images]
    histogram, *scatters = [axes for axes in figure.axes if axes.get_xlabel() == "activation"]

    assert [axes.get_title() for axes in pictures] == [f"{one.activation:.3g}" for one in run.top_images(feature, 3)]
    assert sum(bar.get_height() for bar in histogram.patches) == (activations != 0).sum()
    assert [axes.get_ylabel() for axes in scatters] == run.ratings[:3]
    for axes, rating in zip(scatters, run.ratings, strict=False):
        shown = np.concatenate([points(one) for one in axes.collections])
        both = np.stack([activations, table[rating].to_numpy(dtype=float)], axis=1)
        assert sorted(map(tuple, shown)) == sorted(map(tuple, both[np.isfinite(both[:, 1])]))
        slope, start = np.polyfit(*both[np.isfinite(both[:, 1])].T, 1)
        ends = axes.lines[0].get_xydata()
        np.testing.assert_allclose(ends[:, 1], start + slope * ends[:, 0])
    row = run.correlations_of(feature)[0]
    assert any(f"{abs(row['r']):.2f}" in text for text in texts(figure) if text.startswith("r "))


def test_activations_are_those_of_the_store(run):
    space = run.spaces[0]
    batch = run.features(space)
    found = run.activations(saeviz.Feature(space.layer, space.tokens, 3))
    np.testing.assert_array_equal(found, batch.matrix[:, [3]].toarray()[:, 0])
    assert list(batch.item_ids) == [item.item_id for item in run.items]


@pytest.mark.slow
def test_a_figure_can_be_changed_and_shows_itself_without_pyplot_or_global_settings(run, tmp_path):
    import sys

    import matplotlib

    before = dict(matplotlib.rcParams)
    figure = run.plot.ms()
    figure.axes[0].set_title("Figure 1")
    assert isinstance(figure, matplotlib.figure.Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")
    figure.savefig(tmp_path / "figure.svg")
    assert ">Figure 1</text>" in (tmp_path / "figure.svg").read_text(), "letters stay letters"
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


@pytest.mark.slow
def test_words_from_outside_are_no_formulas_and_have_an_end(run):
    table = with_significant(run)
    rating = run.ratings[0]
    run.correlations = table.assign(rating=table["rating"].replace(rating, HOSTILE))
    run.labels = {feature: saeviz.FeatureLabel(HOSTILE) for feature in set(saeviz.features_of(table))}
    run.manifest = {"stages": {"score": {"counts": {"rated": {HOSTILE: 1}}}}}
    run.ratings_table = pd.DataFrame({HOSTILE: run.ratings_table[rating]})
    run.scores = run.scores.assign(map_x=0.5, map_y=0.5, kind=HOSTILE)
    plot = run.plot
    drawn = [plot.volcano(HOSTILE), plot.replication(HOSTILE), plot.ms(HOSTILE), plot.feature(run.selected[0].feature)]
    drawn += [plot.map(HOSTILE, named=3), plot.map("kind")]
    for figure in drawn:
        figure._repr_png_()
        assert max(map(len, texts(figure))) < 200
        assert not any("\x1b" in text or "\u202e" in text for text in texts(figure))


@pytest.mark.slow
def test_what_the_page_shows_works(run, tmp_path, monkeypatch):
    """The calls in the tables of docs/how-to/notebooks.md; its blocks are run by `test_docs_examples.py`."""
    with_significant(run)
    run.scores = run.scores.assign(map_x=0.5, map_y=0.5, monosemanticity_2=0.4)
    predicted = [{"method": "ridge", "source": "features", "space": "all", "r2": 0.4}]
    run.manifest["stages"]["score"]["facts"] |= {"prediction": {run.ratings[0]: predicted}}
    text = (ROOT / "docs" / "how-to" / "notebooks.md").read_text(encoding="utf-8")
    calls = re.findall(r"`(run\.[^`]*\))`", text)
    there = {
        "drawn_to": run.ratings[0],
        "layer4.cls/12": str(run.selected[0].feature),
        "layer4.cls": str(run.spaces[0]),
        "gallery/0003": run.items[0].item_id,
    }
    monkeypatch.chdir(tmp_path)
    for code in calls:
        eval(re.sub("|".join(there), lambda found: there[found[0]], code), {"run": run})
    assert len(calls) >= 8


def test_without_matplotlib_a_sentence_says_how_to_install_it(finished_run, monkeypatch):
    monkeypatch.setattr(
        plots, "find_spec", lambda name: None if name == "matplotlib" else importlib.util.find_spec(name)
    )
    with pytest.raises(ConfigError, match=r"figures need matplotlib: pip install 'saeviz\[plot\]'"):
        saeviz.open_run(finished_run.parent / "runs" / "fake").plot.ms()
