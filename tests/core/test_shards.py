"""A run whose images are shared among workers ends as one that does everything itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from saeviz.pipeline.run import Plan
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


@pytest.mark.parametrize("size", [1, 7, 50, 1000])
def test_shards_of_any_size(run_file, size):
    assert_same(run(run_file, "shared", f"executor.shard_items={size}"), alone(run_file))


def test_several_extractors(run_file):
    run_file.write_text(
        RUN.replace(
            '[extractor]\nuse = "fake-extractor"',
            '[[extractors]]\nname = "b"\nuse = "fake-extractor"\nlayers = [3]\n'
            '[[extractors]]\nname = "a"\nuse = "fake-extractor"',
        )
    )
    assert_same(run(run_file, "shared"), alone(run_file))


def test_limit_and_more_images_later(run_file):
    expected, made = alone(run_file, limit=20), run(run_file, "shared", limit=20)
    assert_same(made, expected)
    assert_same(run(run_file, "shared"), alone(run_file))


def test_the_rest_of_the_run_is_the_same(run_file):
    expected, made = alone(run_file, plan=Plan()), run(run_file, "shared", plan=Plan())
    assert made.scores.equals(expected.scores)
    assert (made.dir / "selected.csv").read_text() == (expected.dir / "selected.csv").read_text()
