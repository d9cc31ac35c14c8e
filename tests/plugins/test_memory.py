"""The store `memory`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import saeviz
from saeviz.pipeline.run import Plan
from saeviz.testing import FeatureStoreContract
from saeviz.testing.stores import assert_same, read_all, versioned
from saeviz_memory.store import MemoryStore

SPACE = saeviz.FeatureSpace(11, "cls", 50)
IN_MEMORY = ("store.use=memory",)


class TestContract(FeatureStoreContract):
    component = MemoryStore
    durable = False

    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: MemoryStore(saeviz.Options(), saeviz.Context(workdir=tmp_path))


def test_says_that_it_forgets(tmp_path):
    store = MemoryStore(saeviz.Options(), saeviz.Context(workdir=tmp_path))
    assert isinstance(store, saeviz.SaysDurability)
    assert not store.durable


def test_stores_of_one_folder_share_their_features_and_others_do_not(tmp_path):
    one, same, other = (MemoryStore(saeviz.Options(), saeviz.Context(workdir=tmp_path / name)) for name in "aab")
    one.write(versioned(SPACE, ["x"]))
    one.close()
    assert_same(read_all(same, SPACE), versioned(SPACE, ["x"]))
    assert other.spaces() == []


def test_an_open_run_reads_what_the_stages_wrote(fake_run):
    run = saeviz.run(fake_run, settings=IN_MEMORY)
    assert len(run.features(run.spaces[0]).item_ids) == 24
    assert not list((run.dir / "features").glob("*"))


def test_the_next_process_extracts_again_and_says_so(fake_run):
    script = f"import saeviz, sys; saeviz.run(sys.argv[1], settings={IN_MEMORY})"
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-c", script, str(fake_run)], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    log = (fake_run.parent / "runs/fake/log.txt").read_text()
    assert log.count("extract: 24 of 24 images to do") == 2
    assert log.count("the store memory has no features of this run: all are extracted") == 1
    assert log.count("score: up to date") == 1


def test_the_same_process_does_not(fake_run):
    saeviz.run(fake_run, settings=IN_MEMORY, plan=Plan(last="extract"))
    run = saeviz.run(fake_run, settings=IN_MEMORY, plan=Plan(last="extract"))
    assert "extract: up to date" in (run.dir / "log.txt").read_text()
