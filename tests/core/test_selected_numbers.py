"""Every number of `selected.csv`, made again by SciPy and plain loops from what the store and the images have."""

from __future__ import annotations

import math
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, pearsonr

import saeviz
from saeviz import Feature

PLUGIN = '''
import numpy as np
import saeviz
from saeviz import FeatureBatch, FeatureSpace
from saeviz.testing.fake_images import draw_rectangle
from scipy.sparse import csr_array

SPACES = [FeatureSpace(3, "patch-max", 24), FeatureSpace(3, "cls", 24), FeatureSpace(1, "cls", 24)]


class Options(saeviz.Options):
    seed: int = 0
    n: int = 90


class Made:
    """Odd features and odd ratings of n images."""

    def __init__(self, options, context):
        self.n, self.seed = options.n, options.seed
        random = np.random.default_rng(options.seed)
        self.liking = random.normal(size=self.n)
        self.liking[random.random(self.n) < 0.1] = np.nan
        self.vectors = random.normal(size=(self.n, 8)) + 0.4
        self.features = {space: self.draw(space, random) for space in SPACES}

    def draw(self, space, random):
        dense = random.exponential(size=(self.n, 24)) * (random.random((self.n, 24)) < random.random(24))
        strength = np.nan_to_num(self.liking)
        for column in range(8):
            dense[:, column] += np.maximum(strength * random.normal() + random.normal(), 0)
        dense[:, 8] = 0
        dense[5, 8] = 3.0
        dense[:, 9] = 2.0
        dense[:, 10] = 1.0 + np.exp(strength)
        dense[:, 11] = 1e30 * np.maximum(strength, 0)
        dense[:, 12] = 1e-30 * np.maximum(-strength, 0)
        dense[:, 13] = dense[:, 14] = dense[:, 0]
        dense[:, 15] = strength > 0.5
        dense[:, 16] = strength < 0.5
        return dense.astype(np.float32)

    def ratings(self, number):
        value = float(self.liking[number])
        if np.isnan(value):
            return {"constant": 4.0, "steps": float(number % 3)}
        return {"liking": value, "again": value, "constant": 4.0, "steps": float(round(value)), "large": 1e9 - value}


class Images(Made):
    def get_image(self, item_id):
        return next((item for item in self.iter_images() if item.item_id == item_id), None)

    def iter_images(self, filter_labeled=False, limit=None):
        for number in range(self.n if limit is None else min(limit, self.n)):
            picture = draw_rectangle("red", np.random.default_rng(number))
            yield saeviz.ImageItem(f"{number:03}", picture, self.ratings(number), {})


class Extractor(Made):
    spaces = SPACES

    def extract(self, items):
        ids = tuple(item.item_id for item in items)
        for space in SPACES:
            yield FeatureBatch(space, ids, csr_array(self.features[space][[int(one) for one in ids]]))


class Embeddings(Made, saeviz.OneItemEmbeddings):
    dim = 8

    def embed(self, items):
        return self.vectors[[int(item.item_id) for item in items]].astype(np.float32)


@saeviz.hookimpl
def saeviz_image_providers():
    yield saeviz.ImageProviderSpec(name="odd-images", summary="odd", options=Options, factory=Images)


@saeviz.hookimpl
def saeviz_feature_extractors():
    yield saeviz.FeatureExtractorSpec(name="odd-features", summary="odd", options=Options, factory=Extractor)


@saeviz.hookimpl
def saeviz_embedding_providers():
    yield saeviz.EmbeddingProviderSpec(name="odd-vectors", summary="odd", options=Options, factory=Embeddings)
'''
ALPHA, MIN_ACTIVE, R_GOOD, R_ELITE = 0.05, 10, 0.15, 0.25


def make(folder: Path, seed: int, n: int, limit: int) -> saeviz.Run:
    (folder / "odd.py").write_text(PLUGIN)
    table = {"seed": seed, "n": n}
    source = {
        "run": {"dir": str(folder / "run")},
        "images": {"use": "odd-images", **table},
        "extractor": {"use": "odd-features", **table},
        "embeddings": {"use": "odd-vectors", **table},
        "scorers": [{"use": "monosemanticity", "draws": 0}, {"use": "pearson-bh"}],
        "selector": {"use": "tiered", "limit": limit},
        "labeler": {"use": "none"},
        "reporters": [],
    }
    return saeviz.run(source, plugins=[str(folder / "odd.py")])


def correlations(run: saeviz.Run) -> pd.DataFrame:
    """A row per feature and rating, in float64, with q over all that was tested."""
    ratings = run.ratings_table
    rows = []
    for space in run.spaces:
        batch = run.features(space)
        dense = pd.DataFrame(batch.matrix.toarray().astype(float), index=list(batch.item_ids))
        for rating in ratings:
            rated = ratings[rating].dropna()
            for index in dense:
                x = dense.loc[rated.index, index]
                n_active = int((x > 0).sum())
                varies = x.nunique() > 1 and rated.nunique() > 1
                found = pearsonr(x / x.abs().max(), rated) if varies else None
                low, high = found.confidence_interval(0.95) if found else (np.nan, np.nan)
                r, p = (found.statistic, found.pvalue) if found else (np.nan, np.nan)
                rows.append((space.feature(index), rating, n_active, r, p, low, high))
    table = pd.DataFrame(rows, columns=["feature", "rating", "n_active", "r", "p", "ci_low", "ci_high"])
    tested = table["p"].notna() & (table["n_active"] >= MIN_ACTIVE)
    table.loc[tested, "q"] = false_discovery_control(table.loc[tested, "p"])
    return table


def monosemanticity(run: saeviz.Run, feature: Feature, vectors: np.ndarray, top_k: int = 20) -> float:
    """The double loop over pairs of different images among the 20 on which the feature fires most."""
    space = next(space for space in run.spaces if feature in space)
    column = run.features(space).matrix.toarray()[:, feature.index].astype(float)
    top = np.argsort(-column, kind="stable")[:top_k]
    weights = column[top] - column[top].min()
    weights = weights / weights.max() if weights.max() > 0 else weights
    products = np.outer(weights, weights)
    np.fill_diagonal(products, 0)
    unit = vectors[top] / np.linalg.norm(vectors[top], axis=1, keepdims=True)
    return float((products * (unit @ unit.T)).sum() / products.sum()) if products.sum() > 0 else math.nan


def tier(r: float, ms: float, cutoffs: list[float]) -> int:
    if ms >= cutoffs[1] and abs(r) >= R_ELITE:
        return 1
    return 2 if ms >= cutoffs[0] or abs(r) >= R_GOOD else 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "n", "limit"),
    [
        (0, 90, 200),
        *(pytest.param(*others, marks=pytest.mark.slow) for others in [(1, 90, 25), (2, 40, 200), (3, 150, 40)]),
    ],
)
def test_every_number_is_that_of_an_independent_calculation(tmp_path, seed, n, limit):
    run = make(tmp_path, seed, n, limit)
    expected = correlations(run).set_index(["feature", "rating"])
    odd = runpy.run_path(str(tmp_path / "odd.py"))
    vectors = odd["Made"](odd["Options"](seed=seed, n=n), None).vectors.astype(np.float32).astype(float)
    shown = pd.read_csv(run.dir / "selected.csv", keep_default_na=False)
    cutoffs = run.facts["monosemanticity_cutoffs"]

    assert 10 < len(shown) <= limit
    for row, feature in zip(shown.itertuples(), saeviz.features_of(shown), strict=True):
        own = expected.loc[feature]
        own = own[own["q"].notna()]
        significant = own[own["q"] <= ALPHA]
        counted = significant if len(significant) else own
        strongest = counted["r"].abs().max()
        ms = monosemanticity(run, feature, vectors)
        scored = run.scores_of(feature)["monosemanticity"]
        assert (math.nan if scored is None else scored) == pytest.approx(ms, rel=1e-5, nan_ok=True)
        assert row.tier == tier(strongest, ms, cutoffs), (feature, strongest, ms)
        if row.rating == "":
            assert own.empty
            continue
        for name in ("r", "ci_low", "ci_high", "q"):
            assert float(getattr(row, name)) == pytest.approx(own.loc[row.rating, name], rel=1e-5, abs=1e-9), name
        assert bool(row.caveat) == (own.loc[row.rating, "n_active"] < 50)
    assert shown["tier"].is_monotonic_increasing
    for _, of_tier in shown[shown["tier"] < 3].groupby("tier"):
        size = pd.to_numeric(of_tier["r"]).abs().fillna(0).to_numpy()
        assert (np.diff(size) <= 0).all()
    assert not {("cls", 8), ("patch-max", 8)} & set(zip(shown["tokens"], shown["feature"], strict=True))
    assert "constant" not in set(shown["rating"])
