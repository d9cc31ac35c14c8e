"""What a run finds in its directory and its store: its own, somebody else's, damaged, or in use."""

from __future__ import annotations

import json

import pytest

import saeviz
from saeviz.pipeline.run import Plan


def test_a_run_directory_of_other_images_is_refused(finished_run):
    saeviz.run(finished_run)
    with pytest.raises(saeviz.ConfigError, match=r"holds features of 24 other images.*--redo extract"):
        saeviz.run(finished_run, settings=["images.use=gallery", "images.count=3"])


def test_a_run_from_before_an_option_of_its_store_existed_owns_its_features(finished_run):
    run = saeviz.run(finished_run)
    manifest = json.loads((run.dir / "run.json").read_text())
    assert manifest["stages"]["extract"]["store"].pop("url") is None
    manifest["stages"]["extract"]["digest"] = "of an earlier version"
    (run.dir / "run.json").write_text(json.dumps(manifest))
    assert len(saeviz.run(finished_run).items) == len(run.items)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["of another run", "of this run before"])
def test_a_store_that_this_run_did_not_write_is_not_emptied(fake_run, tmp_path, first):
    """Neither at its first run nor when `store.path` changes to it later; what is in it stays."""
    foreign = tmp_path / "foreign"
    saeviz.run(fake_run, settings=[f"store.path={foreign}", f"run.dir={tmp_path / 'other'}"])
    kept = sorted(path.read_bytes() for path in foreign.rglob("*.npz"))
    if first == "of this run before":
        saeviz.run(fake_run)
    with pytest.raises(
        saeviz.ConfigError, match=r"npz already holds features of 24 images that this run did not write"
    ):
        saeviz.run(fake_run, settings=[f"store.path={foreign}", "images.n=12"])
    assert kept == sorted(path.read_bytes() for path in foreign.rglob("*.npz"))
    again = saeviz.run(fake_run, settings=[f"store.path={foreign}", "images.n=12"], plan=Plan(redo=("extract",)))
    assert len(again.features(again.spaces[0]).item_ids) == 12


def test_a_store_may_move_to_an_empty_place(finished_run, tmp_path):
    run = saeviz.run(finished_run)
    moved = saeviz.run(finished_run, settings=[f"store.path={tmp_path / 'elsewhere'}"])
    assert moved.features(moved.spaces[0]).item_ids == run.features(run.spaces[0]).item_ids
    assert list((run.dir / "features").rglob("*.npz")), "what was there stays"


def test_a_folder_that_is_no_run_directory_is_refused(fake_run, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(saeviz.ConfigError, match="not a run directory"):
        saeviz.run(fake_run, settings=[f"run.dir={tmp_path / 'photos'}"])
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize("content", ["{", '{"format": 99, "stages": {}}', "[]"])
def test_a_damaged_manifest_is_refused(finished_run, content):
    run = saeviz.run(finished_run)
    (run.dir / "run.json").write_text(content)
    with pytest.raises(saeviz.RunDirError, match=r"run\.json"):
        saeviz.run(finished_run)


def test_a_damaged_table_names_the_stage_that_makes_it_again(finished_run):
    run = saeviz.run(finished_run)
    (run.dir / "scores.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(saeviz.RunDirError, match="--redo score"):
        _ = saeviz.open_run(run.dir).scores


def test_two_runs_at_once_in_one_directory(finished_run):
    from saeviz.formats.rundir import RunDir

    run = saeviz.run(finished_run)
    with RunDir(run.dir).locked(), pytest.raises(saeviz.RunDirError, match="another run is working"):
        saeviz.run(finished_run)
