"""The demo: what the simulated panel likes is known, and the report has to find it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

import saeviz
from saeviz import ExitCode
from saeviz.formats.judgements import JUDGEMENTS
from saeviz_gallery.panel import PANEL
from tests.conftest import run_process
from tests.report_data import report_of

pytestmark = pytest.mark.slow

PLANTED = [(rating, concept, points) for rating, effects in PANEL.items() for concept, points in effects.items()]
"""Every concept that the panel likes (points > 0) or dislikes, by rating."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(folder) -> saeviz.Run:
    ended = run_process("demo", cwd=folder)
    assert ended.code == ExitCode.DONE, ended
    assert [Path(line) for line in ended.out.splitlines()] == [folder / "runs" / "demo" / "report" / "index.html"]
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
    shown = report_of(demo).column("label")
    labels = {label.label for label in demo.labels.values()}
    named = {concept for _, concept, _ in PLANTED if any(concept in label for label in labels)}
    assert len(named) >= len(PLANTED) / 2, f"only {named} of the planted concepts are among the labels {labels}"
    assert all(any(concept in label for label in shown) for concept in named)


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


def test_labels_of_planted_concepts_pass_the_judge(demo):
    """Those that are true of the images; the judge knows the words only, the truth is in the pictures' metadata."""
    verdicts = {
        saeviz.Feature(int(row.layer), row.tokens, int(row.feature)): row.verdict
        for row in demo.judgements[demo.judgements["reason"] == ""].itertuples()
    }
    planted = {concept for _, concept, _ in PLANTED}
    true = [
        verdicts[feature]
        for feature, label in demo.labels.items()
        if feature in verdicts and label.label in planted and shows(demo, feature, label.label) == 1
    ]
    assert len(true) >= 15
    assert true.count("confirmed") / len(true) >= 0.8
    assert true.count("fails") / len(true) <= 0.1


def test_wrong_labels_fail(folder, demo):
    """The same features with each other's names, judged anew: seldom is one confirmed."""
    judged = demo.judgements[demo.judgements["verdict"] == "confirmed"]
    named = [(saeviz.Feature(int(row.layer), row.tokens, int(row.feature)), row.label) for row in judged.itertuples()]
    images = {item.item_id: item for item in demo.items}
    lines = JUDGEMENTS.read(demo.dir / "judgements.jsonl")
    labeler = demo_labeler(demo)
    verdicts = []
    for number, (feature, name) in enumerate(named):
        trial = lines[feature].images
        pictures = [(images[image.item_id], image.kind == "active") for image in trial]
        others = [other for _, other in [*named[number:], *named] if differs(demo, feature, name, other)]
        wrong = next(other for other in others if tells_nothing(pictures, other))
        scores = labeler.judge(saeviz.FeatureLabel(wrong), [images[image.item_id] for image in trial])
        again = tuple(image._replace(score=float(score)) for image, score in zip(trial, scores, strict=True))
        verdicts.append(lines[feature]._replace(images=again).as_row()["verdict"])
    assert len(verdicts) >= 20
    assert verdicts.count("fails") / len(verdicts) >= 0.75
    assert verdicts.count("confirmed") / len(verdicts) <= 0.05


def differs(run: saeviz.Run, feature: saeviz.Feature, name: str, other: str) -> bool:
    """Whether the other name is wrong of this feature: hardly any of its best images show it."""
    return name != other and shows(run, feature, other) <= 0.1


def tells_nothing(pictures, name: str) -> bool:
    """Whether the name is true of about as many pictures on which the feature fires as of others."""
    true = {is_active: [] for is_active in (True, False)}
    for item, is_active in pictures:
        true[is_active].append(name in item.metadata["concepts"].split(","))
    return np.mean(true[True]) - np.mean(true[False]) <= 0.2


def demo_labeler(run: saeviz.Run):
    """The demo's labeler by itself."""
    config = run.manifest["config"]
    extractor = saeviz.component("extractor", config["extractor"].pop("use"), **config["extractor"])
    images = saeviz.component("images", config["images"].pop("use"), **config["images"])
    peers = {"extractor": extractor, "images": images}
    options = {name: value for name, value in config["labeler"].items() if name != "use"}
    return saeviz.component("labeler", "clip-vocabulary", context=saeviz.Context(peer=peers.__getitem__), **options)


def test_confidences_are_honest(demo):
    """On pictures that the calibration has not seen: as many names are right as their confidences promise."""
    named = {feature: label for feature, label in demo.labels.items() if label.label}
    right = []
    for feature, label in named.items():
        top = demo.top_images(feature)
        shown = sum(one.activation for one in top if label.label in one.item.metadata["concepts"].split(","))
        right.append(shown >= 0.6 * sum(one.activation for one in top))
    promised = np.array([label.confidence for label in named.values()])
    assert len(named) >= 60
    assert promised.mean() == pytest.approx(np.mean(right), abs=0.1)
    assert np.mean((promised - right) ** 2) < np.mean(right) * (1 - np.mean(right))


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


def test_with_shuffled_ratings_nothing_is_significant(folder, demo, saeviz_command, monkeypatch):
    """The demo's own control. The features are the same and need not be extracted again."""
    tested = demo.correlations["q"].notna().sum()
    monkeypatch.chdir(folder)
    ended = saeviz_command("demo", "--set", "images.shuffle_ratings=true", "--set", "labeler.use=none")
    assert ended.code == ExitCode.DONE, ended
    assert "extract: up to date" in ended.err
    shuffled = saeviz.open_run(folder / "runs" / "demo")
    assert (shuffled.correlations["significant"] == 1).sum() == 0
    assert shuffled.correlations["q"].notna().sum() == tested


def test_another_seed_draws_other_pictures_and_extracts_them(folder, demo, saeviz_command, monkeypatch):
    monkeypatch.chdir(folder)
    ended = saeviz_command("demo", "--set", "images.seed=1", "--until", "extract", "--limit", "20")
    assert ended.code == ExitCode.DONE, ended
    assert "extract: 20 of 20 images to do" in ended.err
