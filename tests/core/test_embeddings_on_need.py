"""Embeddings are made for the scorers that use them, and for nothing else."""

from __future__ import annotations

import json

import pytest

import saeviz

UNUSED = 'scorers=[{use="pearson-bh"}, {use="redundancy"}]'
USED = 'scorers=[{use="pearson-bh"}, {use="prediction"}]'


@pytest.fixture
def run(saeviz_command, fake_run):
    def call(*settings):
        words = [word for setting in settings for word in ("--set", setting)]
        return saeviz_command("run", fake_run, "--until", "score", *words)

    return call


def embedded(run_file) -> int:
    manifest = json.loads((run_file.parent / "runs" / run_file.stem / "run.json").read_text())
    return manifest["stages"]["embed"]["counts"]["embedded"]


def test_none_are_made_where_no_scorer_uses_them(run, fake_run):
    """Building the provider would fail: its option names a model that nobody has."""
    pytest.importorskip("torch", reason="what this provider needs is not installed")
    done = run(UNUSED, "embeddings.use=dinov2", "embeddings.model=/nowhere/at/all", "run.offline=true")
    assert done.code == saeviz.ExitCode.DONE, done
    assert "embed: no scorer of this run uses embeddings, so none are made with dinov2" in done.err
    assert embedded(fake_run) == 0


@pytest.mark.slow
def test_they_are_made_as_soon_as_one_does(run, fake_run):
    assert run(UNUSED).code == saeviz.ExitCode.DONE
    assert embedded(fake_run) == 0
    assert run(USED).code == saeviz.ExitCode.DONE
    assert embedded(fake_run) == 24
