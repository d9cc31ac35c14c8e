"""Features from one store to another, and runs that go on with the copy."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

import saeviz
from saeviz import ExitCode
from saeviz.stores.copying import copy_features
from saeviz.testing.fakes import MemoryStore
from saeviz.testing.stores import SPACE, assert_same, read_all, versioned
from tests.conftest import FAKES

SPACES = saeviz.FeatureSpace(1, "cls", 50), saeviz.FeatureSpace(2, "patch-max", 8)
IDS = [f"item {number}" for number in range(30)]


@pytest.fixture
def source():
    store = MemoryStore()
    for space in SPACES:
        for start in range(0, 30, 7):
            store.write(versioned(space, IDS[start : start + 7]))
    return store


def copied(source, target):
    """`copy_features` with what it said, as (space, items, written)."""
    done = copy_features(source, lambda: target, lambda items, total, label: iter(items))
    return [(part.space, part.items, part.written) for part in done]


def test_everything_is_there_in_the_same_order(source):
    target = MemoryStore()
    assert copied(source, target) == [(space, 30, 30) for space in SPACES]
    for space in SPACES:
        assert_same(read_all(target, space), read_all(source, space))


def test_it_is_copied_in_bounded_batches(source, monkeypatch):
    monkeypatch.setattr("saeviz.stores.copying.CHUNK", 8)
    asked = []
    original = MemoryStore.read
    monkeypatch.setattr(
        MemoryStore, "read", lambda store, space, ids=None: asked.append(ids) or original(store, space, ids)
    )
    target = MemoryStore()
    copied(source, target)
    assert max(map(len, asked)) == 8
    assert target.item_ids(SPACES[0]) == IDS


@pytest.mark.parametrize("n_there", [0, 1, 13, 30])
def test_what_is_there_and_equal_is_skipped(source, n_there):
    target = MemoryStore()
    if n_there:
        target.write(versioned(SPACES[0], IDS[:n_there]))
    assert copied(source, target) == [(SPACES[0], 30, 30 - n_there), (SPACES[1], 30, 30)]
    assert target.item_ids(SPACES[0]) == IDS


@pytest.mark.parametrize(
    ("there", "message"),
    [
        (versioned(SPACES[1], IDS[:3], version=1), "other features of 'item 0' in layer2.patch-max"),
        (versioned(SPACES[1], ["item 0", "another"]), "other items of layer2.patch-max, such as 'another'"),
        (versioned(saeviz.FeatureSpace(1, "cls", 51), ["item 0"]), "layer1.cls with 51 features"),
        (versioned(saeviz.FeatureSpace(3, "cls", 8), ["item 0"]), "layer3.cls with 8 features"),
    ],
)
def test_a_target_that_holds_something_else_is_left_as_it_is(source, there, message):
    target = MemoryStore()
    target.write(there)
    with pytest.raises(saeviz.ConfigError, match=message):
        copied(source, target)
    assert target.spaces() == [there.space]
    assert_same(read_all(target, there.space), there)


class Rounds(MemoryStore):
    def write(self, batch):
        values = batch.matrix.copy()
        values.data = np.nextafter(values.data, np.float32(np.inf))
        super().write(saeviz.FeatureBatch(batch.space, batch.item_ids, values))


class LosesTheLast(MemoryStore):
    def write(self, batch):
        super().write(saeviz.FeatureBatch(batch.space, batch.item_ids[:-1], batch.matrix[:-1]))


class Swaps(MemoryStore):
    def write(self, batch):
        super().write(saeviz.FeatureBatch(batch.space, batch.item_ids, csr_array(batch.matrix[::-1])))


@pytest.mark.parametrize("target", [Rounds, LosesTheLast, Swaps])
def test_a_target_that_does_not_keep_every_bit_is_found(source, target):
    with pytest.raises(saeviz.DataError, match="do not come back as they were written"):
        copied(source, target())


def test_a_target_that_forgets_is_refused(source):
    target = MemoryStore()
    target.durable = False
    with pytest.raises(saeviz.ConfigError, match="keeps features only as long as the process lives"):
        copied(source, target)
    assert target.spaces() == []


def test_an_empty_source_is_refused():
    with pytest.raises(saeviz.ConfigError, match="nothing to copy"):
        copied(MemoryStore(), MemoryStore())


# ---- on the command line, with runs


@pytest.fixture
def finished(finished_run) -> Path:
    """The run directory of a finished run with the store npz."""
    return finished_run.parent / "runs" / "fake"


def seen(run_file: Path, *settings: str) -> list[str]:
    """What the log of another run says of its stages."""
    log = run_file.parent / "runs" / "fake" / "log.txt"
    before = len(log.read_text())
    saeviz.run(run_file, settings=settings)
    return [line.split(" INFO ")[1] for line in log.read_text()[before:].splitlines() if " INFO " in line]


STAGES = ("extract", "embed", "score", "select", "label", "judge", "report")
UP_TO_DATE = [f"{stage}: up to date" for stage in STAGES]


@pytest.mark.slow
def test_a_run_goes_on_with_a_copy_of_its_features(saeviz_command, finished, fake_run, tmp_path):
    ended = saeviz_command("store", "copy", finished, "json:art", "--set", "to.shard_rows=7")
    assert ended.code == ExitCode.DONE, ended
    assert ended.out.splitlines() == [f"layer{n}.cls: 24 items, 24 of them written now, all verified" for n in (1, 2)]
    assert f'use = "json"\n  path = "{tmp_path / "art"}"' in ended.err
    moved = ("store.use=json", f"store.path={tmp_path / 'art'}")
    assert seen(fake_run, *moved)[1:] == UP_TO_DATE
    assert seen(fake_run)[1:] == UP_TO_DATE, "and with the first one, which is still the same"
    said = seen(fake_run, *moved, "images.n=26")
    assert "extract: 2 of 26 images to do in layer1.cls, layer2.cls" in said
    assert len(saeviz.open_run(finished, plugins=[FAKES]).features("layer1.cls").item_ids) == 26
    with pytest.raises(saeviz.ConfigError, match=r"24 images that this run did not write.*saeviz store copy"):
        saeviz.run(fake_run, settings=["images.n=26"])
    assert seen(fake_run, *moved, "images.n=26")[1:] == UP_TO_DATE


def test_a_copy_of_another_state_of_the_run_is_refused(saeviz_command, finished, fake_run, tmp_path):
    """A picture may have changed since, and the copy would have its old features."""
    saeviz_command("store", "copy", finished, "json:art")
    saeviz.run(fake_run, settings=["images.n=26"])
    with pytest.raises(saeviz.ConfigError, match="did not write"):
        saeviz.run(fake_run, settings=["store.use=json", f"store.path={tmp_path / 'art'}", "images.n=26"])


def test_a_copy_of_another_run_is_refused(saeviz_command, finished, fake_run, tmp_path):
    saeviz_command("store", "copy", finished, "json:art")
    with pytest.raises(saeviz.ConfigError, match="did not write"):
        saeviz.run(fake_run, settings=["store.use=json", f"store.path={tmp_path / 'art'}", "run.dir=elsewhere"])


def test_to_the_store_of_a_run_file(saeviz_command, finished, fake_run):
    """Change the run file, copy, run again."""
    fake_run.write_text(fake_run.read_text().replace('use = "npz"', 'use = "json"'))
    assert saeviz_command("store", "copy", finished, fake_run).code == ExitCode.DONE
    assert list((finished / "features").rglob("batch_*.npz")), "both lie in the run directory"
    assert list((finished / "features").rglob("batch_*.json"))
    assert seen(fake_run)[1:] == UP_TO_DATE


def test_from_a_run_file_to_a_store_in_the_run_directory_and_again(saeviz_command, finished, fake_run):
    first = saeviz_command("store", "copy", fake_run, "json", "--json").json()
    again = saeviz_command("store", "copy", fake_run, "json", "--json").json()
    assert [[space["written"] for space in said["spaces"]] for said in (first, again)] == [[24, 24], [0, 0]]
    assert first["verified"]
    assert json.loads((finished / "run.json").read_text())["stages"]["extract"]["copies"] == [
        {"use": "json", "path": None, "n_features": 49152}
    ]
    assert seen(fake_run, "store.use=json")[1:] == UP_TO_DATE


def test_info(saeviz_command, finished):
    assert saeviz_command("store", "info", finished).out.splitlines() == [
        f"npz:{finished / 'features'}",
        *(f"layer{n}.cls: 24 items, 32 features" for n in (1, 2)),
    ]
    found = saeviz_command("store", "info", f"npz:{finished / 'features'}", "--json").json()
    assert found["spaces"][1] == {"space": "layer2.cls", "n_features": 32, "items": 24}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs/fake", "memory"], "keeps features only as long as the process lives"),
        (["runs/fake", "runs/fake"], "runs/fake is a run"),
        (["runs/fake", "npz"], "would be copied onto itself"),
        (["runs/fake", "fake.toml"], "would be copied onto itself"),
        (["runs/fake", "npx:art"], "'npx' is not a store; write a run directory, a run file, or NAME:PATH"),
        (["runs/fake", "postgresql://alice:hunter2@host/art"], "'postgresql' is not a store"),
        (["runs/none", "npz:art"], "'runs/none' is not a store"),
        (["none.toml", "npz:art"], "no run file none.toml"),
        (["npz:none", "npz:art"], "the store is empty"),
        (["npz", "npz:art"], "say where the store is: npz:PATH"),
        (["memory:there", "npz:art"], "the store memory has no path"),
        (["runs/fake", "json:art", "--set", "to.layuot=item"], "to.layuot: unknown option"),
        (["runs/fake", "json:art", "--set", "too.path=x"], "--set too: write from.OPTION=VALUE or to.OPTION=VALUE"),
    ],
)
def test_a_mistake_gets_a_sentence(saeviz_command, finished, arguments, message):
    ended = saeviz_command("store", "copy", *arguments)
    assert message in ended.err, ended
    assert "hunter2" not in ended.err
    assert ended.code == ExitCode.USAGE


def test_a_run_at_work_is_not_copied(saeviz_command, finished):
    from saeviz.formats.rundir import RunDir

    with RunDir(finished).locked():
        ended = saeviz_command("store", "copy", finished, "json:art")
    assert "another run is working" in ended.err
    assert ended.code == ExitCode.FAILED


SLOWLY = """
import sys
import saeviz.cli, saeviz.stores.copying
from saeviz_json.store import JsonStore

saeviz.stores.copying.CHUNK = 4
write = JsonStore.write
def slow(store, batch):
    sys.stdin.readline()  # until it may
    write(store, batch)
    print("wrote", flush=True)
JsonStore.write = slow
saeviz.cli.main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["batch", "item"])
def test_killed_and_started_again(saeviz_command, finished, fake_run, tmp_path, layout):
    chance = random.Random(layout)
    arguments = ["store", "copy", finished, "json:art", "--set", f"to.layout={layout}"]
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", SLOWLY, *map(str, arguments)],
            cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        for _ in range(chance.randint(1, 3)):
            process.stdin.write("go\n")
            process.stdout.readline()
        process.stdin.write("go\n")
        time.sleep(chance.uniform(0, 0.03))
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert "copies" not in json.loads((finished / "run.json").read_text())["stages"]["extract"]
    written = [space["written"] for space in saeviz_command(*arguments, "--json").json()["spaces"]]
    assert 0 < sum(written) < 48
    assert seen(fake_run, "store.use=json", f"store.path={tmp_path / 'art'}")[1:] == UP_TO_DATE
    assert list((tmp_path / "art").rglob("*.tmp")) == []


WRITES = """
import sys
import saeviz
from saeviz.testing.stores import SPACE, versioned

name, path, *item_ids = sys.argv[1:]
store = saeviz.component("store", name, path=path, **({"layout": "item"} if name == "json" else {}))
for item_id in item_ids:
    store.write(versioned(SPACE, [item_id]))
print("wrote", flush=True)
sys.stdin.read()
store.close()
"""


@pytest.fixture
def writer(tmp_path):
    """Starts a process that writes items one by one and then waits; gives it."""
    started = []

    def start(name: str, *item_ids: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", WRITES, name, str(tmp_path / "art"), *item_ids],
            env={**os.environ, "OMP_NUM_THREADS": "1"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == "wrote\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["npz", "json"])
def test_two_processes_that_write_to_one_folder_do_not_mix(writer, tmp_path, name):
    def open_store():
        return saeviz.component("store", name, path=tmp_path / "art")

    early = open_store()
    assert early.item_ids(SPACE) == []
    other = writer(name, "a", "b")
    for attempt in (lambda: early.write(versioned(SPACE, ["c"])), early.clear):
        with pytest.raises(saeviz.RunDirError, match=r"another process writes to .*art"):
            attempt()
    assert open_store().item_ids(SPACE) == ["a", "b"], "reading is free"
    other.communicate("")
    early.write(versioned(SPACE, ["c"]))
    early.close()
    assert open_store().item_ids(SPACE) == ["a", "b", "c"], "what others have written meanwhile is not written over"
    killed = writer(name, "d")
    killed.kill()
    killed.wait()
    early.write(versioned(SPACE, ["e"]))
    early.close()
    assert open_store().item_ids(SPACE) == ["a", "b", "c", "d", "e"]


def test_stores_of_one_process_may_share_a_folder(tmp_path):
    one, other = (saeviz.component("store", "npz", path=tmp_path) for _ in range(2))
    one.write(versioned(SPACE, ["a"]))
    other.write(versioned(SPACE, ["b"]))
    one.write(versioned(SPACE, ["c"]))
    assert_same(read_all(other, SPACE, ["a", "b"]), versioned(SPACE, ["a", "b"]))
    one.close()
    other.write(versioned(SPACE, ["d"]))
    other.close()
    assert_same(
        read_all(saeviz.component("store", "npz", path=tmp_path), SPACE), versioned(SPACE, ["a", "b", "c", "d"])
    )
