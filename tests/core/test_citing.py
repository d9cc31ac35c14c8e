"""Works to cite: those that specs name, as far as a run used them, whoever wrote the plugin."""

from __future__ import annotations

import pytest

import saeviz
from saeviz.discovery.manager import Manager
from saeviz.discovery.sources import PluginChoice
from saeviz.results.citing import works_of
from saeviz.values.errors import MalformedError

WORK = {"what": "Order of ranks", "authors": "Roe & Poe (2026)", "title": "Ranks", "where": "doi:10.1/x"}


@pytest.fixture(scope="module")
def manager(tmp_path_factory):
    return Manager.discover(PluginChoice.parse([""], tmp_path_factory.mktemp("plugins")))


@pytest.mark.parametrize(
    ("place", "settings", "facts", "columns", "authors"),
    [
        ("extractor", {"use": "clip-b32-prisma"}, {}, [], ["Joseph", "Radford", "Ilharco"]),
        ("extractor", {"use": "vit-sae", "model": "openai/CLIP-b", "saes": [{"path": "x"}]}, {}, [], ["Radford"]),
        ("extractor", {"use": "vit-sae", "model": "facebook/dino", "saes": ["Prisma-x64-7"]}, {}, [], ["Joseph"]),
        ("judge", {"use": "clip-vocabulary"}, {}, [], ["Radford", "Ilharco"]),
        ("labeler", {"use": "metadata-terms"}, {}, [], ["Monroe"]),
        ("embeddings", {"use": "dinov2"}, {}, [], ["Oquab"]),
        ("second_embeddings", {"use": "timm"}, {}, [], ["Wightman"]),
        ("scorers.0", {"use": "monosemanticity"}, {}, ["monosemanticity", "ms_q"], ["Pach", "Benjamini & Hochberg"]),
        ("scorers.0", {"use": "pearson-bh", "correction": "by"}, {}, [], ["Yekutieli"]),
        ("scorers.0", {"use": "pearson-bh", "correction": "bonferroni"}, {}, [], []),
        ("scorers.0", {"use": "pearson-bh"}, {"correlation_errors": "clusters"}, ["r_corrected"], ["Pustej", "Zhong"]),
        ("scorers.0", {"use": "pearson-bh", "name": "a"}, {"correlation_errors": "hc2"}, ["r_corrected"], []),
        ("scorers.0", {"use": "pearson-bh", "name": "a"}, {"a_correlation_errors": "hc2"}, [], ["Imbens"]),
        ("scorers.0", {"use": "spearman", "correction": "max-t"}, {}, [], ["Westfall", "Bonett"]),
        ("scorers.0", {"use": "auc"}, {"auc_errors": "clusters"}, [], ["Pustej", "DeLong", "Obuchow", "Rosner"]),
        ("scorers.0", {"use": "raters"}, {"reliability": {"joy": 1}}, ["rater_r"], ["McGraw", "Judd"]),
        ("scorers.0", {"use": "map", "by": "coactivation"}, {"map_method": "PaCMAP"}, [], ["Halko", "Wang"]),
        ("scorers.0", {"use": "map", "by": "decoder"}, {"map_method": "pca"}, [], []),
        ("selector", {"use": "tiered", "stability": 100}, {}, [], ["Meinshausen"]),
        ("selector", {"use": "tiered", "stability": 0}, {}, [], []),
        ("selector", {"use": "of nobody"}, {}, [], []),
    ],
)
def test_what_a_run_used_is_cited_and_nothing_else(manager, place, settings, facts, columns, authors):
    table = place.partition(".")[0]
    config = {table: [settings] if "." in place else settings}
    manifest = {"config": config, "plugins": {place: {"plugin": "made before components said what to cite"}}}
    found = works_of(manifest, facts, {"scores": dict.fromkeys(columns)}, lambda: manager).get(place, [])
    assert len(found) == len(authors)
    assert all(
        one.authors.startswith(author) or author in one.authors for one, author in zip(found, authors, strict=True)
    )
    assert not any(one.when for one in found)


@pytest.mark.parametrize("recorded", [[WORK, {"what": 1}, WORK | {"new": ""}], [WORK | {"when": "rank=spear*"}]])
def test_what_the_manifest_has_of_a_third_party_counts_installed_or_not(recorded):
    manifest = {
        "config": {"scorers": [{"use": "x", "rank": "Spearman"}]},
        "plugins": {"scorers[0]": {"cites": recorded}},
    }
    found = works_of(manifest, {}, {}, Manager)
    assert found == {"scorers.0": [saeviz.Citation(**WORK)]}


def test_a_run_has_the_works_of_its_components(finished_copy):
    assert {one.title for one in finished_copy.citations.get("embeddings", [])} == set()
    assert {one.what for works in finished_copy.citations.values() for one in works} >= {"False discovery rate"}


@pytest.mark.parametrize(("settings", "is_cited"), [(["scorers.1.split=0.5"], False), ([], True)])
def test_a_work_on_a_column_is_cited_only_where_the_run_has_the_column(fake_run, settings, is_cited):
    run = saeviz.run(fake_run, settings=settings, plan=saeviz.Plan(last="score"))
    cited = {one.what for works in run.citations.values() for one in works}
    assert ("r_corrected" in run.correlations) == is_cited
    assert ("Correlations corrected for selection" in cited) == is_cited


@pytest.mark.parametrize(
    "manifest",
    [
        {"plugins": [1]},
        {"plugins": {"a": 3, "scorers.0": "x"}},
        {"plugins": {"a": {"cites": 5}, "scorers[0]": {"cites": [5, "x"]}}},
        {"plugins": {f"scorers.{'9' * 5000}": {}, "scorers.": {}, "": {}}, "config": {"scorers": [1]}},
        {"plugins": {"scorers.0": {}, "embeddings": {}}, "config": [1], "stages": {"embed": [1]}},
        {"plugins": {"embeddings": {}}, "config": {"embeddings": [1]}, "stages": [1]},
    ],
)
def test_a_manifest_of_a_stranger_cites_nothing(manager, manifest):
    assert works_of(manifest, {}, {}, lambda: manager) == {}


@pytest.mark.parametrize("when", ["two\nlines", 3])
def test_a_condition_is_text_of_one_line(when):
    with pytest.raises(MalformedError, match="a citation whose when is"):
        saeviz.Citation(**WORK, when=when)
