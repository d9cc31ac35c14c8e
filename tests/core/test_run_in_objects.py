"""A run whose directory is in an object store: moto's server of S3, on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from hashlib import sha256

import pytest

import saeviz
from saeviz.cache.mirrors import Mirrors
from saeviz.formats.mirror import mirror_of
from saeviz.pipeline.run import Plan
from saeviz.pipeline.stages import block_work, score_work
from saeviz.toolkit.objects import Objects
from saeviz.values import streams
from tests.conftest import FAKES
from tests.elsewhere import PLUGIN as ELSEWHERE
from tests.sharded import RUN
from tests.small_parts import PLUGIN as SMALL_PARTS

PARTIAL, DONE, FAILED = saeviz.ExitCode.PARTIAL, saeviz.ExitCode.DONE, saeviz.ExitCode.FAILED
TABLES = ("scores.parquet", "correlations.parquet", "top_images.parquet", "images.parquet", "selected.csv")
SELECTED = Plan(last="select")
SCORERS = 'scorers=[{use="firing"}, {use="likeness"}, {use="pearson-bh"}, {use="spearman"}]'
SMALL = RUN.replace("n = 50\nbroken = 3", "n = 24\nbroken = 1")

FORKED = """
import os, signal, sys
from pathlib import Path

import pandas, pyarrow.parquet, s3fs, scipy.sparse, tqdm, filelock  # once, for all the processes that are forked

import saeviz.cli
import saeviz.testing.fakes
from saeviz.formats.objects import Objects
from saeviz.formats.rundir import RunDir

os.fsync = lambda descriptor: None
url = sys.argv[1]


def on(machine, *arguments, killed=None):
    # A process that shares nothing with others but the bucket; killed before the first call for which this is true.
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    home = Path(machine).absolute()
    home.mkdir(exist_ok=True)
    os.environ["HOME"] = str(home)
    (home / "run.toml").write_text(Path("run.toml").read_text())
    os.chdir(home)

    def watched(name, method):
        def watch(objects, *given):
            if killed and killed(name, *given):
                os.kill(os.getpid(), signal.SIGKILL)
            return method(objects, *given)
        return watch

    for name in ("write", "remove"):
        setattr(Objects, name, watched(name, getattr(Objects, name)))
    try:
        if arguments == ("read",):
            run = saeviz.open_run(url)
            stages = run.manifest["stages"].values()
            os._exit(any(RunDir(run.dir).changed(record) for record in stages))
        saeviz.cli.main(["run", "run.toml", "--out", url, "--until", "select", *arguments])
    except SystemExit as ended:
        os._exit(int(ended.code or 0))
    finally:
        os._exit(99)


def commits(name, key, *_):
    return name == "write" and key.endswith("commit.json")


def cleans_up(name, keys, *_):
    return name == "remove" and any("/shards/" in key for key in keys)


assert on("a", "--part", "1/2") == 0
assert on("b", "--part", "2/2") == 0
assert on("c", "--gather", killed=commits) == -signal.SIGKILL
assert on("c", "--gather", killed=cleans_up) == -signal.SIGKILL
assert on("d", "read") == 0
assert on("c", "--gather") == 0
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_machines_that_share_a_bucket_only_and_are_killed(bucket, tmp_path, monkeypatch):
    (tmp_path / "run.toml").write_text(SMALL.replace("broken = 1", "broken = 0"))
    alone = saeviz.run(
        tmp_path / "run.toml", settings=[f"run.dir={tmp_path / 'alone'}", "executor.use=local"], plan=SELECTED
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", FORKED, f"{bucket}/art"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("HOME", str(tmp_path / "f"))
    made = saeviz.open_run(f"{bucket}/art", plugins=[FAKES])
    assert_same(made, alone)
    there = contents(bucket)
    assert [key for key in there if "lock" in key] == []
    assert [key for key in there if re.search("/shards/.*/", key)] == [], "what was killed before it was removed, too"
    assert len([key for key in there if "/files/" in key]) < 60, "of two states only"
    assert not any(b"secret" in content for content in [*there.values(), *map(bytes_of, tmp_path.rglob("*"))])


def assert_same(made, expected):
    for table in TABLES:
        assert (made.dir / table).read_bytes() == (expected.dir / table).read_bytes(), table
    assert made.failures == expected.failures


def bytes_of(path):
    return path.read_bytes() if path.is_file() and path.suffix != ".pyc" else b""


def contents(bucket):
    objects = Objects(f"{bucket}/art", saeviz.Context())
    return objects.read(list(objects.sizes(objects.root)))


@pytest.fixture
def command(saeviz_command, bucket, tmp_path, monkeypatch):
    """`saeviz run` on a machine, as far as embeddings."""
    (tmp_path / "run.toml").write_text(SMALL.replace("n = 24", "n = 14"))

    def call(machine, *arguments):
        monkeypatch.setenv("HOME", str(tmp_path / machine))
        return saeviz_command("run", "run.toml", "--out", f"{bucket}/art", "--until", "embed", *arguments)

    return call


@pytest.mark.slow
def test_what_is_missing_or_damaged_is_named_and_made_again(command, bucket):
    command("b", "--part", "2/2")
    objects = Objects(f"{bucket}/art", saeviz.Context())
    (shard,) = objects.sizes(f"{objects.root}/shards/extract", "0000001-")
    objects.write(shard, objects.read([shard])[shard][:-100])
    missing = command("c", "--gather")
    assert missing.code == FAILED
    assert "part 1/2 has not begun; run the same command with --part 1/2 instead of --gather" in missing.err
    assert "part 2/2 has not finished: 1 of its 1 shards are missing" in missing.err
    command("b", "--part", "2/2")
    command("a", "--part", "1/2")
    assert command("c", "--gather").code == PARTIAL
    content = next(key for key in objects.sizes(objects.root) if is_table(objects, key))
    objects.write(content, objects.read([content])[content][:-1] + b"?")
    other = command("e")
    assert other.code == PARTIAL, other.err
    assert "is missing or damaged there, and is made again" in other.err
    assert sha256(objects.read([content])[content]).hexdigest() == content.rpartition("/")[2]


def is_table(objects, key):
    return "/files/" in key and objects.read([key])[key].startswith(b"PAR1")


def test_a_second_driver_is_refused_and_one_that_was_killed_goes_on(command, bucket):
    objects = Objects(f"{bucket}/art", saeviz.Context())
    lock = f"{objects.root}/lock.json"
    objects.write(lock, json.dumps({"mirror": "m", "host": "elsewhere", "since": "2026-01-01"}).encode())
    refused = command("a")
    assert refused.code == FAILED
    assert "art: another run has been working on it since 2026-01-01, on elsewhere; wait until it has" in refused.err
    assert f"remove the object {bucket}/art/lock.json" in refused.err
    assert list(objects.sizes(objects.root)) == [lock]
    assert not objects.create(lock, b"mine")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b'{"format": 1, "files": {"../x": ["%064d", 1]}}' % 0, "'../x' is not the name of a file in a run directory"),
        (b'{"format": 1, "files": {"/x": ["%064d", 1]}}' % 0, "'/x' is not the name"),
        (b'{"format": 1, "files": {"x/.lock": ["%064d", 1]}}' % 0, "'x/.lock' is not the name"),
        (b'{"format": 1, "files": {"C:x": ["%064d", 1]}}' % 0, "'C:x' is not the name"),
        (b'{"format": 1, "files": {"x\\ud800": ["%064d", 1]}}' % 0, "is not the name"),
        (b'{"format": 1, "files": {"%s": ["%064d", 1]}}' % (b"x" * 300, 0), "is not the name"),
        (b'{"format": 1, "files": {"x": ["../../other", 1]}}', "'x' has no digest"),
        (b'{"format": 2}', "another version"),
        (b"[" * 9, "commit.json is damaged"),
    ],
)
def test_a_strangers_marker_is_data(bucket, tmp_path, monkeypatch, text, sentence):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    objects = Objects(f"{bucket}/art", saeviz.Context())
    objects.write(f"{objects.root}/commit.json", text)
    with pytest.raises(saeviz.RunDirError, match=sentence):
        saeviz.open_run(f"{bucket}/art")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("s3://", "run.dir: it is not the address of an object store; write s3://BUCKET/FOLDER"),
        ("s3://bucket/run[1]", "run.dir: it is not the address of an object store"),
        ("s3://nowhere/x", "s3://nowhere/x cannot be "),
    ],
)
def test_addresses_of_which_nothing_comes_are_a_sentence(saeviz_command, bucket, tmp_path, address, sentence):
    (tmp_path / "run.toml").write_text(SMALL)
    ended = saeviz_command("run", "run.toml", "--out", address)
    assert ended.code != DONE
    assert sentence in ended.err


def test_a_run_that_is_offline_does_not_ask_a_service_elsewhere(saeviz_command, bucket, tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    (tmp_path / "run.toml").write_text(SMALL)
    ended = saeviz_command("run", "run.toml", "--out", "s3://bucket/x", "--set", "run.offline=true")
    assert "s3://bucket/x is on the network; run.offline is set" in ended.err
    monkeypatch.setenv("SAEVIZ_RUN__OFFLINE", "true")
    assert (
        "is on the network; run.offline is set" in saeviz_command("show", "layer1.cls/1", "--run", "s3://bucket/x").err
    )


def test_nothing_was_committed_there(bucket):
    with pytest.raises(saeviz.ConfigError, match="art is not a run directory: nothing was committed there"):
        saeviz.open_run(f"{bucket}/art")


@pytest.fixture
def made_elsewhere(saeviz_command, bucket, tmp_path, monkeypatch):
    """A run of 24 images whose workers do not see its mirror, with small parts, and the same in a folder."""
    for module in (streams, score_work):
        monkeypatch.setattr(module, "PART_SIZE", 8)
    monkeypatch.setattr(score_work, "TOGETHER", 2)
    monkeypatch.setattr(block_work, "VALUES", 300)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "run.toml").write_text(
        SMALL.replace('use = ["module', f'use = ["{SMALL_PARTS}", "{ELSEWHERE}", "module')
    )
    settings = ("--until", "select", "--set", "extractor.layers=[2]", "--set", SCORERS)
    assert saeviz_command("run", "run.toml", "--out", "alone", "--set", "executor.use=local", *settings).code == PARTIAL
    apart = ("run", "run.toml", "--out", f"{bucket}/art", "--set", "executor.use=elsewhere", *settings)
    assert saeviz_command(*apart, "--until", "embed").code == PARTIAL
    assert saeviz_command(*apart, "--part", "1/2", "--from", "score").code == DONE
    said = saeviz_command(*apart)
    assert said.code == PARTIAL
    return f"{bucket}/art"


@pytest.mark.slow
def test_workers_that_do_not_see_the_mirror_and_commands_that_read(made_elsewhere, saeviz_command, bucket, tmp_path):
    made = saeviz.open_run(made_elsewhere, plugins=[FAKES])
    assert_same(made, saeviz.open_run("alone", plugins=[FAKES]))
    assert [key for key in contents(bucket) if re.search("/shards/.*/", key)] == []
    feature = str(made.selected[0].feature)
    shown = saeviz_command("show", feature, "--run", made_elsewhere).out
    assert shown == saeviz_command("show", feature, "--run", "alone").out
    assert f"show FEATURE --run {made_elsewhere}" in saeviz_command("show", made_elsewhere).err
    assert "ratings:" in saeviz_command("compare", made_elsewhere, "alone", "--plugins", FAKES).out
    assert "items" in saeviz_command("store", "info", made_elsewhere, "--plugins", FAKES).out
    only_read = f"{made_elsewhere} is only read: nothing but `saeviz run` changes a run in an object store"
    assert only_read in saeviz_command("store", "copy", made_elsewhere, "npz:copy", "--plugins", FAKES).err
    with pytest.raises(saeviz.ConfigError, match="is only read"):
        made.notes.write(feature, text="a note")
    cache = saeviz_command("cache").out
    assert re.search("1 run in object stores, as they are on this machine +23 images", cache)
    runs = tmp_path / "home" / ".cache" / "saeviz" / "runs"
    assert "removed" in saeviz_command("cache", "prune", "--all").out
    assert list(runs.iterdir()) == []
    saeviz.open_run(made_elsewhere, plugins=[FAKES])
    assert len(list(runs.glob("*/*/run.json"))) == 1


def test_a_mirror_that_has_more_than_the_object_store_is_not_pruned(tmp_path):
    mirror = mirror_of("s3://bucket/art", tmp_path)
    mirror.mkdir(parents=True)
    (mirror / ".mirror.json").write_text(json.dumps({"name": "m", "commit": "c", "has_more": True, "stamps": {}}))
    Mirrors(tmp_path).remove([mirror])
    assert list(Mirrors(tmp_path).by_use()) == []
    assert mirror.exists()
    assert "1 run in object" in Mirrors(tmp_path).usage()[0].title
