"""The demo: what the simulated panel likes is known, and the report has to find it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

import saeviz
from saeviz import ExitCode
from saeviz_gallery.panel import PANEL
from tests.conftest import run_process

PLANTED = [(rating, concept, points) for rating, effects in PANEL.items() for concept, points in effects.items()]
"""Every concept that the panel likes (points > 0) or dislikes, by rating."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(folder) -> saeviz.Run:
    ended = run_process("demo", cwd=folder)
    assert ended.code == ExitCode.DONE, ended
    assert Path(ended.out.strip()) == folder / "runs" / "demo" / "report" / "index.html"
    return saeviz.open_run(folder / "runs" / "demo")


def shows(run: saeviz.Run, feature: saeviz.Feature, concept: str) -> float:
    """The share of a feature's ten best images that have the concept."""
    best = [image.item for image in run.top_images(feature, k=10)]
    return sum(concept in item.metadata["concepts"].split(",") for item in best) / len(best)


def significant(run: saeviz.Run, rating: str) -> dict[saeviz.Feature, float]:
    """The selected features that go along with a rating: feature -> signed r."""
    table = run.correlations
    rows = table[(table["rating"] == rating) & (table["significant"] == 1)]
    r = {saeviz.Feature(int(row.layer), row.tokens, int(row.feature)): float(row.r) for row in rows.itertuples()}
    return {choice.feature: r[choice.feature] for choice in run.selected if choice.feature in r}


@pytest.mark.parametrize(("rating", "concept", "points"), PLANTED, ids=str)
def test_every_planted_concept_is_found_with_the_right_sign(demo, rating, concept, points):
    """At least one selected feature is about the concept, and every such feature has the panel's sign."""
    found = {feature: r for feature, r in significant(demo, rating).items() if shows(demo, feature, concept) >= 0.9}
    assert found, f"no selected feature with {concept} on its best images goes along with {rating}"
    strongest = max(found.values(), key=abs)
    assert strongest * points > 0


def test_the_report_names_planted_concepts(demo):
    page = (demo.dir / "report" / "index.html").read_text()
    labels = {label.label for label in demo.labels.values()}
    named = {concept for _, concept, _ in PLANTED if any(concept in label for label in labels)}
    assert len(named) >= len(PLANTED) / 2, f"only {named} of the planted concepts are among the labels {labels}"
    assert all(concept in page for concept in named)


def test_labels_are_true_of_the_images_they_name(demo):
    """Of the features whose label is a gallery concept, most show that concept on most of their best images."""
    from saeviz_gallery.concepts import CONCEPTS

    shares = [
        max(shows(demo, feature, concept) for concept in CONCEPTS if re.search(rf"\b{concept}\b", label.label))
        for feature, label in demo.labels.items()
        if any(re.search(rf"\b{concept}\b", label.label) for concept in CONCEPTS)
    ]
    assert len(shares) >= 10
    assert sum(share >= 0.6 for share in shares) / len(shares) >= 0.75


def test_nothing_was_downloaded_or_left_out(demo):
    assert demo.failures == []
    assert not list(demo.dir.rglob("*.tmp"))


def test_shuffled_ratings_give_a_discovery_no_more_often_than_alpha(demo):
    """Where nothing is to be found, Benjamini-Hochberg finds something in at most alpha of all runs."""
    scorer = saeviz.component("scorer", "pearson-bh")
    batches = [demo.features(space) for space in demo.spaces]
    ratings = {name: np.array([item.ratings[name] for item in demo.items]) for name in demo.ratings}
    n_shuffles, n_with_discovery = 100, 0
    for seed in range(n_shuffles):
        order = np.random.default_rng(seed).permutation(len(demo.items))
        shuffled = {name: values[order] for name, values in ratings.items()}
        columns = [column for batch in batches for column in scorer.score(score_input(batch, shuffled))]
        found = [result for result in scorer.combine(columns) if getattr(result, "name", "") == "significant"]
        n_with_discovery += any((column.values == 1).any() for column in found)
    assert n_with_discovery <= binom.ppf(0.999, n_shuffles, demo.facts["correlation_alpha"])


def score_input(batch: saeviz.FeatureBatch, ratings: dict) -> saeviz.ScoreInput:
    stream = saeviz.FeatureStream(batch.space, lambda: iter([batch]))
    return saeviz.ScoreInput(batch.space, batch.item_ids, stream, None, ratings)


def test_with_shuffled_ratings_nothing_is_significant(folder, demo):
    """The demo's own control. The features are the same and need not be extracted again."""
    tested = demo.correlations["q"].notna().sum()
    ended = run_process("demo", "--set", "images.shuffle_ratings=true", "--set", "labeler.use=none", cwd=folder)
    assert ended.code == ExitCode.DONE, ended
    assert "extract: up to date" in ended.err
    shuffled = saeviz.open_run(folder / "runs" / "demo")
    assert (shuffled.correlations["significant"] == 1).sum() == 0
    assert shuffled.correlations["q"].notna().sum() == tested


def test_another_seed_draws_other_pictures_and_extracts_them(folder, demo):
    ended = run_process("demo", "--set", "images.seed=1", "--until", "extract", "--limit", "20", cwd=folder)
    assert ended.code == ExitCode.DONE, ended
    assert "extract: 20 of 20 images to do" in ended.err
