"""A run whose images are shared among workers ends as one that does everything itself."""

from __future__ import annotations

import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from saeviz.pipeline.run import Plan
from saeviz_webdataset.provider import WebDatasetImages
from tests import shared_runs
from tests.hostile_server import picture
from tests.sharded import RUN, alone, assert_same, run


@pytest.fixture
def run_file(tmp_path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(RUN)
    return path


def test_the_same_as_alone(run_file):
    expected, made = alone(run_file), run(run_file, "shared")
    assert len(made.failures) == 3
    assert_same(made, expected)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 7, 50, 1000])
def test_shards_of_any_size(run_file, size):
    assert_same(run(run_file, "shared", f"executor.shard_items={size}"), alone(run_file))


@pytest.mark.slow
def test_several_extractors(run_file):
    run_file.write_text(
        RUN.replace(
            '[extractor]\nuse = "fake-extractor"',
            '[[extractors]]\nname = "b"\nuse = "fake-extractor"\nlayers = [3]\n'
            '[[extractors]]\nname = "a"\nuse = "fake-extractor"',
        )
    )
    assert_same(run(run_file, "shared"), alone(run_file))


@pytest.mark.slow
def test_limit_and_more_images_later(run_file):
    expected, made = alone(run_file, limit=20), run(run_file, "shared", limit=20)
    assert_same(made, expected)
    assert_same(run(run_file, "shared"), alone(run_file))


@pytest.mark.slow
def test_the_rest_of_the_run_is_the_same(run_file):
    expected, made = alone(run_file, plan=Plan()), run(run_file, "shared", plan=Plan())
    assert made.scores.equals(expected.scores)
    assert (made.dir / "selected.csv").read_text() == (expected.dir / "selected.csv").read_text()


def test_workers_read_only_the_parts_that_their_images_are_in(tmp_path, monkeypatch):
    """Of a provider that has parts, here tar files, of which nobody asks for one image after the other."""
    (tmp_path / "tars").mkdir()
    for number in range(3):
        with tarfile.open(tmp_path / "tars" / f"{number}.tar", "w") as tar:
            for place, colour in enumerate(["red", "green", "blue", "white"]):
                data = picture(colour)
                entry = tarfile.TarInfo(f"{place}.png")
                entry.size = len(data)
                tar.addfile(entry, BytesIO(data))
    run_file = tmp_path / "run.toml"
    run_file.write_text(
        RUN.replace('use = "fake-images"\nn = 50\nbroken = 3', 'use = "webdataset"\npath = "tars"')
        .replace('use = "pearson-bh"', 'use = "fake-scorer"')
        .replace('use = "fake-executor"', 'use = "fake-executor"\nshard_items = 3')
    )
    expected = alone(run_file)
    read = []
    iter_shard = WebDatasetImages.iter_shard
    monkeypatch.setattr(WebDatasetImages, "get_image", lambda *_: pytest.fail("one image was asked for"))
    monkeypatch.setattr(WebDatasetImages, "iter_shard", lambda self, name: read.append(name) or iter_shard(self, name))
    run(run_file, "shared", plan=Plan(last="extract"))
    assert read[-6:] == ["2", "1", "2", "0", "1", "0"]
    assert_same(run(run_file, "shared"), expected)


@pytest.mark.slow
def test_workers_share_results_with_other_runs(tmp_path, monkeypatch):
    monkeypatch.delenv("SAEVIZ_RUN__CACHE")
    run_file = shared_runs.write_run(tmp_path)
    shared = ("executor.use=fake-executor", "executor.shard_items=4")
    first = shared_runs.run(run_file, "one", *shared)
    second = shared_runs.run(run_file, "two", *shared)
    again = shared_runs.run(run_file, "two", *shared, redo=("extract",))
    assert "have features from another run" not in shared_runs.log_of(first)
    assert "extract: 4 images have features from another run" in shared_runs.log_of(second)
    for made in (second, again):
        assert_same(made, first)
