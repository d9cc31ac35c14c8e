"""What the page says of methods: those to cite, what was held constant, and what the figures take for granted."""

from __future__ import annotations

import pytest

import saeviz
from tests.plugins.report.page import FakeRun, Write, entries

ALWAYS = {"config": {"extractor": {"use": "vit-sae", "model": "facebook/dino"}, "embeddings": {"use": "http"}}}


def cited(page):
    return page.one("section", id="methods").text


@pytest.mark.parametrize(
    ("table", "facts", "found"),
    [
        ({"extractor": {"use": "clip-b32-prisma"}}, {}, ["Prisma", "Radford", "OpenCLIP"]),
        ({"embeddings": {"use": "dinov2"}}, {}, ["DINOv2"]),
        ({"second_embeddings": {"use": "timm"}}, {}, ["PyTorch Image Models"]),
        ({"labeler": {"use": "metadata-terms"}}, {}, ["Monroe"]),
        ({"judge": {"use": "clip-vocabulary"}}, {}, ["Radford", "OpenCLIP"]),
        ({}, {"correlation_correction": "by"}, ["Yekutieli"]),
        ({}, {"correlation_correction": "bh"}, ["Hochberg"]),
        ({}, {"correlation_correction": "max-t"}, ["Westfall"]),
        ({}, {"reliability": {}}, ["McGraw"]),
        ({}, {"map_by": "coactivation", "map_method": "pacmap"}, ["Halko", "PaCMAP"]),
        ({}, {"map_by": "coactivation", "map_method": "pca"}, ["Halko"]),
        ({}, {"map_by": "decoder", "map_method": "pca"}, []),
    ],
)
def test_what_the_run_used_is_cited_and_nothing_else(run: FakeRun, write: Write, table, facts, found) -> None:
    names = ["Prisma", "Radford", "OpenCLIP", "DINOv2", "Monroe", "Yekutieli", "Hochberg", "Westfall", "McGraw", "timm"]
    names += ["Halko", "PaCMAP"]
    run.manifest = {**run.manifest, "config": {**ALWAYS["config"], **table}}
    run.facts = facts
    text = cited(write())

    assert "Monosemantic Features" in text
    assert all(name in text for name in found)
    assert not any(name in text for name in set(names) - set(found))


def test_a_model_that_made_no_embedding_is_not_cited(run: FakeRun, write: Write) -> None:
    """It is part of the configuration by default, but no scorer of the run used it."""
    stages = {"embed": {"digest": "0", "counts": {"embedded": 0}}}
    run.manifest = {**run.manifest, "config": {"embeddings": {"use": "dinov2"}}, "stages": stages}
    assert "DINOv2" not in cited(write())


def test_what_is_held_constant_stands_beside_every_partial_r(run: FakeRun, write: Write) -> None:
    run.correlations = run.correlations.rename(
        columns={
            name: f"partial_{name}" for name in ("n", "n_active", "r", "p", "q", "ci_low", "ci_high", "significant")
        }
    )
    run.facts = {"partial_measure": "partial r", "partial_control": ["code (4 categories)"]}
    page = write()

    assert "partial r (code (4 categories) held constant)" in page.one("section", id="features").text
    assert "code (4 categories) held constant" in page.one("section", id="reading").text


def test_a_rare_feature_has_a_word_on_its_intervals(run: FakeRun, write: Write) -> None:
    rare = (run.scores["tokens"] == "cls") & (run.scores["feature"] == 7)
    run.scores = run.scores.assign(n_active=run.scores["n_active"].where(~rare, 12).where(rare, 400))
    found = entries(write())

    assert "85 to 93 %" in found["layer8.cls/7"].text
    assert "85 to 93 %" not in found["layer8.patch-max/42"].text
    assert saeviz.interval_caveat(49)
    assert not saeviz.interval_caveat(50)


def test_that_images_are_taken_as_independent_is_said(write: Write) -> None:
    assert "independent of one another" in write().one("section", id="reading").text


def test_robust_intervals_hold_for_rare_features(run: FakeRun, write: Write) -> None:
    run.scores = run.scores.assign(n_active=12)
    run.facts = {**run.facts, "correlation_errors": "clusters", "correlation_groups": 9}
    assert "85 to 93 %" not in write().text
    assert not saeviz.interval_caveat(12, "clusters")
    assert not saeviz.interval_caveat(12, "permutation"), "there are no intervals"
    assert saeviz.interval_caveat(12, "independent")


def test_intervals_that_allow_for_unequal_spread_are_too_narrow_for_rare_features_with_a_large_r(
    run: FakeRun, write: Write
) -> None:
    run.scores = run.scores.assign(n_active=12)
    run.facts = {**run.facts, "correlation_errors": "hc2"}
    page = write()
    assert "they then cover r in 91 % of cases" in entries(page)["layer8.cls/7"].text
    assert "85 to 93 %" not in page.text
    assert not saeviz.interval_caveat(50, "hc2")
