"""Groups of images: from the image provider to the scorers."""

from __future__ import annotations

import csv
import dataclasses
import logging
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import saeviz
from saeviz.testing.data import pictures, score_input
from saeviz.testing.fakes import FakeEmbeddings, FakeImages, FakeScorer
from saeviz.values.near_duplicates import near_duplicates
from tests.conftest import FAKES
from tests.report_data import report_of

SETTINGS = ["scorers=[{use = 'fake-scorer'}]", "selector.use=fake-selector", "store.use=npz"]


@pytest.fixture
def seen(monkeypatch):
    """What scorers are given."""
    given = []
    score = FakeScorer.score
    monkeypatch.setattr(FakeScorer, "score", lambda self, data: given.append(data) or score(self, data))
    return given


def run(run_file, n_groups):
    return saeviz.run(run_file, settings=[*SETTINGS, f"images.groups={n_groups}"])


def test_scorers_see_the_group_of_every_image(fake_run, seen):
    run(fake_run, 5)
    groups = seen[0].groups
    with pytest.raises(TypeError):
        groups[0] = "another"
    assert groups == tuple(f"group {int(item_id.removeprefix('picture/')) % 5}" for item_id in seen[0].item_ids)
    assert all(data.groups == groups for data in seen)


def test_a_run_without_groups_has_none(fake_run, seen):
    run(fake_run, 0)
    assert seen
    assert all(data.groups is None for data in seen)


def test_an_image_without_a_group_among_others(fake_run, seen, monkeypatch):
    original = FakeImages._item
    monkeypatch.setattr(
        FakeImages,
        "_item",
        lambda self, number: dataclasses.replace(original(self, number), group="one" if number == 1 else None),
    )
    run(fake_run, 0)
    assert [group for group in seen[0].groups if group is not None] == ["one"]
    assert seen[0].groups[1] == "one"


def test_other_groups_are_scored_again_and_nothing_is_extracted_again(fake_run, seen, caplog):
    run(fake_run, 5)
    n_scored = len(seen)
    run(fake_run, 5)
    assert len(seen) == n_scored
    with caplog.at_level(logging.INFO, logger="saeviz"):
        run(fake_run, 4)
    assert len(seen) == 2 * n_scored
    assert "extract: up to date" in caplog.text


def test_locked_input_keeps_its_groups():
    data = score_input(groups=3)
    assert data.locked().groups == data.groups == tuple(f"group {number % 3}" for number in range(40))
    assert score_input().locked().groups is None


@pytest.mark.parametrize("group", [7, "", b"a", ("a", "b")])
def test_a_group_that_is_no_text_is_blamed_on_the_provider(fake_run, monkeypatch, group):
    given = (dataclasses.replace(item, group=group) for item in pictures(3))
    monkeypatch.setattr(FakeImages, "iter_images", lambda self, **_: given)
    with pytest.raises(saeviz.PluginError, match=r"images: fake-images .* item 'picture/0': the group"):
        run(fake_run, 0)


def test_images_of_a_group_are_found_or_held_out_together():
    ids = [f"picture {number}" for number in range(400)]
    groups = [None if number % 4 == 0 else f"series {number % 50}" for number in range(400)]
    finding = saeviz.finding_images(ids, 0.5, 7, groups)
    of_group = {}
    for group, is_found in zip(groups, finding.tolist(), strict=True):
        of_group.setdefault(group, set()).add(is_found)
    assert of_group.pop(None) == {True, False}
    assert all(len(halves) == 1 for halves in of_group.values())
    assert len(set.union(*of_group.values())) == 2
    alone = saeviz.finding_images(ids, 0.5, 7)
    single = [number for number, group in enumerate(groups) if group is None]
    assert (finding[single] == alone[single]).all()


def test_near_duplicates_are_linked_through_others_and_named_after_the_first():
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(600, 32)) + 20  # all in one direction, as embeddings are
    turn, other = np.linspace(0, 1.2, 5)[:, None], generator.normal(size=32)
    embeddings[[3, 300, 500, 7, 450]] = 20 + np.cos(turn) * (embeddings[3] - 20) + np.sin(turn) * other
    embeddings[599] = embeddings[10]
    embeddings[11] = np.nan
    ids = [f"picture {number}" for number in range(600)]
    found = near_duplicates(ids, embeddings.astype(np.float32), 0.9)
    assert {ids[row]: group for row, group in enumerate(found) if group} == {
        **{f"picture {row}": "picture 3" for row in (3, 300, 500, 7, 450)},
        **{f"picture {row}": "picture 10" for row in (10, 599)},
    }


@pytest.mark.parametrize("embeddings", [np.zeros((0, 4)), np.full((3, 4), np.nan), np.ones((3, 4))])
def test_nothing_to_compare_is_no_near_duplicate(embeddings):
    assert near_duplicates("abc"[: len(embeddings)], embeddings, 0.9) == [""] * len(embeddings)


def test_the_command_writes_a_row_per_image(fake_run, saeviz_command):
    run_with = saeviz.run(fake_run, settings=["scorers=[{use = 'fake-scorer'}]", "store.use=npz"])
    done = saeviz_command("groups", run_with.dir, "--threshold", "0.5", "--plugins", FAKES)
    assert done.code == 0, done
    table = pd.read_csv("groups.csv", keep_default_na=False)
    assert list(table) == ["item_id", "group"]
    assert table["item_id"].tolist() == [item.item_id for item in run_with.items]
    expected = near_duplicates(table["item_id"].tolist(), run_with.embeddings, 0.5)
    assert table["group"].tolist() == expected
    assert "images are nearly the same as another" in done.err


IDS = ["-1_crop.jpg", "=a, b", "@c\rd\ne", 'f "g"\u202e', "h"]


def test_the_command_writes_ids_exactly_as_they_are_and_no_file_over_another(fake_run, monkeypatch, saeviz_command):
    items = [SimpleNamespace(item_id=item_id) for item_id in IDS]
    opened = SimpleNamespace(items=items, embeddings=np.tile(np.eye(5, 4, dtype=np.float32)[:1], (5, 1)))
    opened.embeddings[4] = -1
    monkeypatch.setattr(import_module("saeviz.cli.groups"), "open_run", lambda *_, **__: opened)
    assert saeviz_command("groups", "run").code == 0
    with Path("groups.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["item_id"] for row in rows] == IDS
    assert [row["group"] for row in rows] == [*[IDS[0]] * 4, ""]

    Path("groups.csv").write_text("mine")
    refused = saeviz_command("groups", "run")
    assert refused.code == 2
    assert "groups.csv already exists; choose another name with --out, or overwrite it with --force" in refused.err
    assert Path("groups.csv").read_text() == "mine"
    assert saeviz_command("groups", "run", "--force").code == 0
    assert Path("groups.csv").read_text().startswith("item_id,group\n")


def test_a_run_without_embeddings_says_what_is_missing(fake_run, saeviz_command):
    path = saeviz.run(fake_run, settings=["scorers=[]", "embeddings.use=none", "store.use=npz"]).dir
    done = saeviz_command("groups", path, "--plugins", FAKES)
    assert done.code == 1
    assert "has no embeddings; add an [embeddings] table" in done.err


@pytest.mark.slow
def test_the_report_says_that_groups_are_allowed_for(fake_run):
    settings = ["images.groups=12", "scorers=[{use = 'pearson-bh'}]", "reporters=[{use = 'html'}]", "store.use=npz"]
    made = saeviz.run(fake_run, settings=settings)
    assert made.facts["correlation_errors"] == "clusters"
    assert {"df", "n_groups", "r_within", "heterogeneity_p"} <= set(made.correlations)
    assert "belong to 12 groups" in report_of(made).reading
    assert "Tipton (2018)" in report_of(made).reading
    alone = saeviz.run(fake_run, settings=["images.groups=0", *settings[1:]])
    assert "df" not in alone.correlations
    assert "assume that the images are independent" in report_of(alone).reading


@pytest.mark.slow
@pytest.mark.parametrize(("alike", "n_groups", "warns"), [(2, 0, True), (1, 0, False), (2, 12, False)])
def test_near_duplicates_without_groups_are_a_warning(fake_run, monkeypatch, caplog, alike, n_groups, warns):
    def row(_embedder, item):
        number = int(item.item_id.removeprefix("picture/"))
        return np.random.default_rng(number // alike).normal(size=12).astype(np.float32)

    monkeypatch.setattr(FakeEmbeddings, "_row", row)
    saeviz.run(fake_run, settings=["images.n=100", f"images.groups={n_groups}", "store.use=npz"])
    assert ("100 of 100 images looked at are nearly the same as another" in caplog.text) == warns


@pytest.mark.parametrize(
    ("groups", "scorer", "message"),
    [
        (4, 'use = "auc", correction = "max-t"', "scorers.0.correction: max-t permutes single images here"),
        (0, 'use = "moderation", moderators = ["colour"], errors = "clusters"', "scorers.0.errors: the images have no"),
        (0, 'use = "pearson-bh", errors = "permutation"', "scorers.0.errors: the images have no groups"),
    ],
)
def test_check_refuses_scorers_that_do_not_go_with_the_groups(fake_run, saeviz_command, groups, scorer, message):
    settings = ("--set", f"scorers=[{{{scorer}}}]", "--set", f"images.groups={groups}")
    ended = saeviz_command("check", fake_run, *settings)
    assert ended.code == saeviz.ExitCode.USAGE
    assert message in ended.err


@pytest.mark.slow
def test_max_t_of_images_in_groups_is_a_run_and_the_page_says_what_was_exchanged(fake_run):
    scorer = 'scorers=[{use = "pearson-bh", correction = "max-t", permutations = 99, min_active = 3}]'
    run = saeviz.run(fake_run, settings=[scorer, "images.groups=4", 'reporters=[{use = "html"}]'])
    assert run.facts["correlation_errors"] == "permutation"
    assert run.correlations["q"].notna().any()
    assert "permuting ratings within groups" in report_of(run).reading
