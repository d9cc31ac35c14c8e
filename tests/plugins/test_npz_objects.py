"""The store `npz` in an object store: moto's server of S3, on this machine."""

from __future__ import annotations

import logging
import os
import re

import pytest

import saeviz
from saeviz.cli import main
from saeviz.testing import FeatureStoreContract, ManyWritersContract
from saeviz.testing.stores import SPACE, assert_same, read_all, versioned
from saeviz.toolkit.objects import Objects
from saeviz_npz import NpzOptions
from saeviz_npz.store import open_store as open_npz
from tests.conftest import FAKE_RUN, FAKES

pytest.importorskip("s3fs", reason="needs pip install 'saeviz[cloud]'")

IDS = [f"item {number:02}" for number in range(30)]
NAMED = saeviz.FeatureSpace(SPACE.layer, SPACE.tokens, SPACE.n_features, "vit")


@pytest.fixture
def url(bucket):
    """A folder in a new bucket."""
    return f"{bucket}/features"


def opened(url, **options):
    return open_npz(NpzOptions(url=url, **options), saeviz.Context())


def keys(url):
    """Relative to the folder, without the numbers of writers."""
    objects = Objects(url, saeviz.Context())
    found = (key.removeprefix(f"{objects.root}/") for key in objects.sizes(objects.root))
    return sorted(re.sub(r"\.[0-9a-f]{12}", ".ID", key) for key in found)


@pytest.mark.slow
class TestContract(FeatureStoreContract):
    series, steps = 1, 6

    @pytest.fixture
    def open_store(self, url):
        return lambda: opened(url)


@pytest.mark.slow
class TestManyWriters(ManyWritersContract):
    @pytest.fixture
    def open_store(self, url):
        return lambda: opened(url, shard_rows=4)


def test_each_shard_has_a_commit_and_merged_ones_leave_nothing(url):
    store = opened(url)
    for item_id in IDS[:5]:
        store.write(versioned(SPACE, [item_id]))
    store.close()
    one = opened(url).writer("one")
    one.write(versioned(SPACE, ["a"]))
    one.close()
    folder = f"layer_{SPACE.layer}/{SPACE.tokens}"
    assert keys(url) == [
        f"{folder}/batch-.ID_000006.npz",
        f"{folder}/batch-one.ID_000002.npz",
        f"{folder}/commits/.ID-000006.jsonl",
        f"{folder}/commits/one.ID-000002.jsonl",
    ]


@pytest.mark.slow
def test_the_order_of_writing_survives_merging(url):
    store = opened(url, shard_rows=4)
    for ids in (IDS[:1], IDS[1:6], IDS[6:7], IDS[7:8], IDS[8:9], IDS[9:11], IDS[11:16]):
        store.write(versioned(SPACE, ids))
    store.write(versioned(SPACE, IDS[:3], version=1))
    store.close()
    assert opened(url).item_ids(SPACE) == IDS[:16]
    assert_same(read_all(opened(url), SPACE, IDS[:3]), versioned(SPACE, IDS[:3], version=1))


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["commit", "shard", "half"])
def test_what_is_not_whole_does_not_count(url, lost, caplog):
    store = opened(url)
    store.write(versioned(SPACE, ["a"]))
    other = opened(url)
    other.write(versioned(SPACE, ["b"]))
    objects = Objects(url, saeviz.Context())
    found = list(objects.sizes(objects.root))
    mine = next(key for key in found if key.endswith(".npz") and other._name in key)
    if lost == "half":
        objects.write(mine, b"half")
    else:
        end = "npz" if lost == "shard" else "jsonl"
        objects.remove([key for key in found if other._name in key and key.endswith(end)])
    with caplog.at_level(logging.WARNING):
        assert opened(url).item_ids(SPACE) == ["a"]
    told = {"commit": "", "shard": "is missing; its 1 items", "half": "was changed or damaged since it was written"}
    assert told[lost] in caplog.text


@pytest.mark.slow
def test_other_objects_are_left_alone(url):
    objects = Objects(url, saeviz.Context())
    folder = f"{objects.root}/layer_{SPACE.layer}/{SPACE.tokens}"
    foreign = [
        f"{objects.root}/mine.txt",
        f"{folder}/batch-x_1.npz",
        f"{folder}/commits/x.jsonl",
        f"{folder}/commits/[x].jsonl",
    ]
    for key in foreign:
        objects.write(key, b"mine")
    store = opened(url)
    assert store.spaces() == []
    store.write(versioned(SPACE, ["a"]))
    store.write(versioned(NAMED, ["a"]))
    store.clear()
    assert sorted(objects.sizes(objects.root)) == sorted(foreign)


@pytest.mark.slow
def test_a_store_below_another_one_is_left_alone(url):
    inner, outer = opened(f"{url}/vit"), opened(url)
    inner.write(versioned(SPACE, ["inner"]))
    outer.write(versioned(SPACE, ["outer"]))
    assert opened(url).spaces() == [SPACE]
    outer.clear()
    assert_same(read_all(opened(f"{url}/vit"), SPACE), versioned(SPACE, ["inner"]))


@pytest.mark.slow
def test_what_the_service_refuses_is_a_sentence(url):
    with pytest.raises(saeviz.RunDirError, match=r"s3://nowhere/x cannot be listed: .*bucket"):
        opened("s3://nowhere/x").spaces()


@pytest.mark.slow
def test_a_service_that_is_not_there_is_a_sentence(url, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(saeviz.RunDirError, match=r"cannot be listed: Could not connect to the endpoint"):
        opened(url).spaces()


def test_offline_a_service_elsewhere_is_refused_and_one_here_is_not(url, monkeypatch):
    offline = saeviz.Context(offline=True)
    open_npz(NpzOptions(url=url), offline).spaces()
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    with pytest.raises(saeviz.ConfigError, match=r"s3://.* is on the network; run\.offline is set"):
        open_npz(NpzOptions(url=url), offline)


def test_a_strangers_run_has_the_credentials_that_its_reader_allows(url, s3):
    given = []

    class Environment(dict):
        def get(self, name, default=None):
            given.append(name)
            return super().get(name, default)

    environment = Environment(AWS_ENDPOINT_URL=s3)
    store = open_npz(NpzOptions(url=url), saeviz.Context(environment=environment))
    assert store._files.objects._credentials() == {"anon": True, "endpoint_url": s3}
    environment.update(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret")
    assert store._files.objects._credentials()["key"] == "key"
    assert "AWS_ACCESS_KEY_ID" in given


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"url": "http://bucket/x"}, "not the address of an object store; write s3://BUCKET/FOLDER"),
        ({"url": "s3://"}, "not the address of an object store"),
        ({"url": "s3://bucket/x", "path": "here"}, "two places"),
        ({"path": "s3://bucket/x"}, "as url"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, sentence):
    with pytest.raises(saeviz.ConfigError, match=sentence):
        saeviz.component("store", "npz", **options)


@pytest.mark.slow
def test_a_store_is_copied_there_and_back(url, tmp_path):
    here = open_npz(NpzOptions(path=tmp_path / "here"), saeviz.Context())
    here.write(versioned(SPACE, IDS))
    here.close()
    for one, other in ((f"npz:{tmp_path / 'here'}", f"npz:{url}"), (f"npz:{url}", f"npz:{tmp_path / 'back'}")):
        with pytest.raises(SystemExit) as end:
            main(["store", "copy", one, other])
        assert end.value.code == 0
    assert_same(read_all(open_npz(NpzOptions(path=tmp_path / "back"), saeviz.Context()), SPACE), versioned(SPACE, IDS))


@pytest.mark.slow
def test_a_run_keeps_its_features_there_and_is_read_by_whom_its_reader_trusts(url, tmp_path):
    (tmp_path / "here.toml").write_text(FAKE_RUN)
    (tmp_path / "there.toml").write_text(FAKE_RUN.replace('use = "npz"', f'use = "npz"\nurl = "{url}"'))
    expected, run = saeviz.run(tmp_path / "here.toml"), saeviz.run(tmp_path / "there.toml")
    assert not (run.dir / "features").exists()
    assert (run.dir / "selected.csv").read_bytes() == (expected.dir / "selected.csv").read_bytes()
    before = (run.dir / "scores.parquet").stat().st_mtime_ns
    assert (saeviz.run(tmp_path / "there.toml").dir / "scores.parquet").stat().st_mtime_ns == before
    with pytest.raises(saeviz.ConfigError, match=r"--online"):
        saeviz.open_run(run.dir, plugins=[FAKES]).features(run.spaces[0])
    with pytest.raises(saeviz.ConfigError, match=r"--secret AWS_"):
        saeviz.open_run(run.dir, plugins=[FAKES], online=True).features(run.spaces[0])
    granted = [name for name in os.environ if name.startswith("AWS_")]
    read = saeviz.open_run(run.dir, plugins=[FAKES], online=True, secrets=granted)
    for space in expected.spaces:
        assert_same(read.features(space), expected.features(space))
