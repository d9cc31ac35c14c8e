"""A run notices other weights at an old path and edited code as a new directory does; touching changes nothing."""

from __future__ import annotations

import os
import sys

import pytest
from pydantic import Field

import saeviz
from saeviz.cache import contents
from saeviz.cache.contents import Contents
from saeviz.pipeline.run import Plan
from saeviz.testing import fakes

PLUGIN = """
import saeviz
from saeviz.testing.fakes import FakeExtractorOptions

@saeviz.hookimpl
def saeviz_feature_extractors():
    yield saeviz.FeatureExtractorSpec(
        name="edited", summary="x", options=FakeExtractorOptions, factory="edited_package.work:Extractor"
    )
"""
WORK = """
from saeviz.testing.fakes import FakeExtractor

class Extractor(FakeExtractor):
    pass
"""


@pytest.fixture
def with_weights(tmp_path, fake_run, monkeypatch):
    """The fake extractor with an option that names weights; whether it has run again."""

    class Options(fakes.FakeExtractorOptions):
        weights: str | None = Field(None, description="weights", **saeviz.PATH)

    spec = next(spec for spec in fakes.saeviz_feature_extractors())
    changed = saeviz.FeatureExtractorSpec(name=spec.name, summary="x", options=Options, factory=fakes.FakeExtractor)
    monkeypatch.setattr(fakes, "saeviz_feature_extractors", saeviz.hookimpl(lambda: iter([changed])))
    path = tmp_path / "weights"
    return path, lambda: ran(fake_run, f"extractor.weights={path}")


def ran(run_file, *settings: str) -> bool:
    """Whether the extractor has to run for this."""
    log = run_file.parent / "runs" / "fake" / "log.txt"
    before = len(log.read_text()) if log.exists() else 0
    saeviz.run(run_file, settings=settings, plan=Plan(last="extract"))
    return "extract: up to date" not in log.read_text()[before:]


@pytest.mark.slow
def test_other_weights_at_the_same_path(with_weights):
    path, has_run = with_weights
    path.write_bytes(b"one")
    assert has_run()
    assert not has_run()
    os.utime(path, (5, 5))
    assert not has_run(), "touched"
    path.unlink()
    path.write_bytes(b"one")
    assert not has_run(), "copied anew"
    path.write_bytes(b"two")
    assert has_run()
    os.utime(path, (5, 5))
    assert not has_run()
    path.write_bytes(b"one")
    os.utime(path, (5, 5))
    assert has_run(), "of the same size, and its time set back"


def test_a_folder_of_weights(with_weights):
    path, has_run = with_weights
    (path / "sub").mkdir(parents=True)
    (path / "sub" / "model.bin").write_bytes(b"one")
    assert has_run()
    (path / ".cache").mkdir()
    (path / ".cache" / "lock").write_bytes(b"")
    assert not has_run(), "what the hub keeps beside them does not count"
    (path / "sub" / "model.bin").rename(path / "sub" / "other.bin")
    assert has_run()
    (path / "sub" / "other.bin").write_bytes(b"two")
    assert has_run()
    assert not has_run()


def test_an_edited_module_of_a_package(tmp_path, fake_run, monkeypatch):
    package = tmp_path / "edited_package"
    package.mkdir()
    (package / "__init__.py").write_text(PLUGIN)
    (package / "work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("edited_package", "edited_package.work"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    fake_run.write_text(
        fake_run.read_text().replace(
            '"module:saeviz.testing.fakes"', '"module:saeviz.testing.fakes", "module:edited_package"'
        )
    )
    assert ran(fake_run, "extractor.use=edited")
    assert not ran(fake_run, "extractor.use=edited")
    os.utime(package / "work.py")
    assert not ran(fake_run, "extractor.use=edited")
    (package / "work.py").write_text(WORK + "\n# corrected\n")
    assert ran(fake_run, "extractor.use=edited")


def test_large_files_are_read_once_for_all_processes(tmp_path, monkeypatch):
    from saeviz.cache.entries import SharedCache

    class Options(saeviz.Options):
        weights: str = Field("", description="weights", **saeviz.PATH)

    path = tmp_path / "weights"
    path.write_bytes(bytes(contents.LARGE))
    os.utime(path, (5, 5))
    monkeypatch.setattr(contents, "SETTLED", -1)
    SharedCache(tmp_path / "cache").close()
    options = Options(weights=str(path))
    first = Contents(tmp_path / "cache").of_options(options)
    contents._known.clear()
    read = []
    monkeypatch.setattr(contents, "digest_of_file", lambda file: read.append(file) or "0" * 64)
    assert Contents(tmp_path / "cache").of_options(options) == first
    assert read == []
    path.write_bytes(bytes(contents.LARGE) + b"more")
    assert Contents(tmp_path / "cache").of_options(options) != first
    assert read == [path]
