"""What the report says of methods: those to cite, what was held constant, and what the figures take for granted."""

from __future__ import annotations

import saeviz
from tests.plugins.report.page import FakeRun, Write


def cited(report):
    return "\n".join(" ".join(citation) for citation in report.run["methods"]["citations"])


def test_what_components_are_to_be_cited_for_is_cited(run: FakeRun, write: Write) -> None:
    """In a sentence of its own unless one is about it already; what no version of saeviz writes is passed over."""
    model = {"what": "Independent embedding", "authors": "Roe (2024)", "title": "Seeing", "where": "arXiv:2401.1"}
    words = {**model, "what": "Order of ranks", "authors": "Doe & Poe (2026)", "title": "Ranks"}
    run.manifest["plugins"] = {"embeddings": {"cites": [model]}, "scorers.0": {"cites": [words, {"what": 1}]}}
    report = write()
    assert "Roe (2024) Seeing" in cited(report)
    text = report.run["methods"]["text"]
    assert text.count("(Roe, 2024)") == 1
    assert "Other methods: Order of ranks (Doe & Poe, 2026)." in text


def test_a_model_that_made_no_embedding_is_not_cited(run: FakeRun, write: Write) -> None:
    """It is part of the configuration by default, but no scorer of the run used it."""
    stages = {"embed": {"digest": "0", "counts": {"embedded": 0}}}
    model = {"what": "Independent embedding", "authors": "Roe (2024)", "title": "Seeing", "where": "arXiv:2401.1"}
    run.manifest = {**run.manifest, "plugins": {"embeddings": {"cites": [model]}}, "stages": stages}
    assert "Seeing" not in cited(write())


def test_the_model_of_embeddings_is_named_but_not_where_it_lies(run: FakeRun, write: Write) -> None:
    run.manifest["config"]["embeddings"] = {"use": "timm", "model": "/home/me/models/lite0"}
    report = write().run
    models = {word: made_of for word, _, made_of in report["models"]}
    assert models["Independent embedding"] == "lite0"
    assert "from embeddings by timm, model lite0, leaving out" in report["methods"]["text"]


def test_what_is_held_constant_stands_beside_every_partial_r(run: FakeRun, write: Write) -> None:
    run.correlations = run.correlations.rename(
        columns={
            name: f"partial_{name}" for name in ("n", "n_active", "r", "p", "q", "ci_low", "ci_high", "significant")
        }
    )
    run.facts = {"partial_measure": "partial r", "partial_control": ["code (4 categories)"]}
    report = write()

    assert report.run["measure"] == "partial r (code (4 categories) held constant)"
    assert "code (4 categories) held constant" in report.reading


def test_a_rare_feature_has_a_word_on_its_intervals(write: Write) -> None:
    caveat = write().run["caveat"]

    assert "87 to 92 %" in caveat["text"]
    assert saeviz.interval_caveat(caveat["below"] - 1)
    assert not saeviz.interval_caveat(caveat["below"])


def test_that_images_are_taken_as_independent_is_said(write: Write) -> None:
    assert "independent of one another" in write().reading


def test_robust_intervals_hold_for_rare_features(run: FakeRun, write: Write) -> None:
    run.facts = {**run.facts, "correlation_errors": "clusters", "correlation_groups": 9}
    report = write()
    assert report.run["caveat"] is None
    assert "87 to 92 %" not in report.reading
    assert not saeviz.interval_caveat(12, "clusters")
    assert not saeviz.interval_caveat(12, "permutation"), "there are no intervals"
    assert not saeviz.interval_caveat(12, "independent", "rank-biserial r"), "too rare features have no interval"
    assert saeviz.interval_caveat(12, "independent")


def test_intervals_that_allow_for_unequal_spread_are_too_narrow_for_rare_features_with_a_large_r(
    run: FakeRun, write: Write
) -> None:
    run.facts = {**run.facts, "correlation_errors": "hc2"}
    report = write()
    assert "they then cover r in 91 % of cases" in report.run["caveat"]["text"]
    assert "87 to 92 %" not in report.reading
    assert not saeviz.interval_caveat(50, "hc2")


def test_the_paragraph_and_its_references_are_there_to_copy(run: FakeRun, write: Write) -> None:
    model = {"what": "Independent embedding", "authors": "Roe (2024)", "title": "Seeing", "where": "arXiv:2401.1"}
    run.manifest["plugins"] = {"embeddings": {"cites": [model]}}
    methods = write().run["methods"]
    assert methods["text"].startswith("We analysed 6 images with 2 ratings (beauty, calm).")
    assert "The random seed was 0" in methods["text"]
    assert methods["bibtex"].count("@misc{") == len(methods["citations"]) > 0
