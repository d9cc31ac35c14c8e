"""The contract of reporters, as a test suite."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import pytest

from saeviz.api import open_run
from saeviz.contract import handover
from saeviz.contract.context import Context
from saeviz.results.reporter import HasViewer, Reporter
from saeviz.results.run import Run
from saeviz.testing import fakes
from saeviz.testing.contract import Contract, needs
from saeviz.testing.data import Surroundings
from saeviz.testing.fake_images import HOSTILE_IDS
from saeviz.testing.running import FAKES_ONLY, run_with
from saeviz.values.checks import kind_of
from saeviz.values.errors import PluginError, SaevizError

MakeReporter = Callable[[Context], Reporter]


class ReporterContract(Contract):
    """Subclass this and define the fixture `make`: a function that builds the reporter from a context.

    The run that it is given is one of fakes, whose ids, titles and ratings are hostile text. Set
    `deterministic = False` for a report that has, for instance, the time at which it was made.
    """

    subject = "reporter"
    deterministic: ClassVar[bool] = True

    @pytest.fixture
    def make(self) -> MakeReporter:
        """Builds the reporter under test."""
        raise NotImplementedError("define the fixture make")

    @pytest.fixture
    def run(self, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Run:
        """A finished run."""
        return copied(finished(tmp_path_factory.getbasetemp()), tmp_path / "run")

    @pytest.fixture
    def reporter(self, make: MakeReporter, tmp_path: Path) -> Reporter:
        """The reporter under test."""
        return make(Surroundings(tmp_path).context)

    def test_is_a_reporter(self, reporter: Reporter) -> None:
        self.assert_is(reporter, Reporter)

    def test_the_file_that_it_returns_is_there(self, reporter: Reporter, run: Run) -> None:
        path = reporter.write(run)
        report = handover.report("the reporter", path)
        assert isinstance(path, Path), f"write returned {kind_of(path)}; a Path was expected"
        assert report.stat().st_size, f"write returned {path}, which is empty"

    def test_hostile_text_stays_text(self, reporter: Reporter, run: Run) -> None:
        path = written(reporter, run)
        assert_holds_text(path)

    @needs(declared="deterministic")
    def test_says_the_same_twice(self, make: MakeReporter, reporter: Reporter, run: Run, tmp_path: Path) -> None:
        path = written(reporter, run)
        first = path.read_bytes()
        again = written(make(Surroundings(tmp_path).context), opened(run.dir))
        assert again == path, f"a second report of the same run is in {again}; {path} was expected, where the first is"
        assert path.read_bytes() == first, (
            f"a second report of the same run has other bytes, from {differ(first, path.read_bytes())}; if that "
            "is meant, as for a report with the time on it, say deterministic = False"
        )

    def test_a_report_takes_the_place_of_the_former_one_at_once(self, reporter: Reporter, run: Run) -> None:
        path = written(reporter, run)
        # Older than any clock tells, so that what is written again is seen to be.
        os.utime(path, (1, 1))
        former = path.stat()
        written(reporter, opened(run.dir))
        now = path.stat()
        in_place = now.st_ino == former.st_ino and now.st_mtime_ns != former.st_mtime_ns
        assert not in_place, f"write changes {path} in place; use saeviz.toolkit.files.write_atomic"

    def test_one_that_is_interrupted_leaves_the_former_report(self, reporter: Reporter, run: Run) -> None:
        path = written(reporter, run)
        watched = _Interrupted.of(opened(run.dir))
        written(reporter, watched)
        for after in sorted({watched.n_looks // 2, watched.n_looks - 1}):
            before = path.read_bytes()
            with suppress(KeyboardInterrupt):
                written(reporter, _Interrupted.of(opened(run.dir), after))
                continue
            assert path.exists(), f"a report that is interrupted leaves no {path}; the former one was expected"
            assert path.read_bytes() == before, (
                f"a report that is interrupted leaves {path} changed and not finished; the former one was expected"
            )

    def test_the_run_is_as_it_was(self, reporter: Reporter, run: Run) -> None:
        before = contents(run.dir)
        written(reporter, run)
        after = contents(run.dir)
        changed = sorted(name for name in before if before[name] != after.get(name))
        assert not changed, f"write changes files of the run: {', '.join(changed)}"

    def test_takes_what_there_is_or_says_what_is_missing(self, reporter: Reporter, tmp_path: Path) -> None:
        settings = ["images.n=2", "images.unrated=2", "embeddings.use=none", "labeler.use=none"]
        bare = run_with(fakes, tmp_path / "bare", use="fake-images", settings=settings)
        try:
            path = written(reporter, bare)
        except PluginError:
            raise
        except SaevizError:
            return
        assert path.is_file(), f"of a run with two images and no ratings, write returned {path}, which is not a file"

    @needs(HasViewer)
    def test_its_viewer_lies_in_the_folder_that_it_is_given(self, reporter: Reporter, run: Run, tmp_path: Path) -> None:
        assert isinstance(reporter, HasViewer), "the reporter has no write_viewer"
        folder = tmp_path / "viewer"
        folder.mkdir()
        page = reporter.write_viewer(run, folder)
        assert page.is_file(), f"write_viewer returned {page}, which is not a file"
        assert page.resolve().is_relative_to(folder.resolve()), (
            f"write_viewer wrote {page}, not in {folder} as it is asked"
        )
        assert_holds_text(page)


class _Interrupted(Run):
    """A run whose reader is interrupted, as by Ctrl-C, at a look at it; without `after` it counts the looks."""

    n_looks = 0
    after: int | None = None

    @classmethod
    def of(cls, run: Run, after: int | None = None) -> _Interrupted:
        found = cls.__new__(cls)
        vars(found).update(vars(run), after=after)
        return found

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in ("n_looks", "after"):
            if self.n_looks == self.after:
                raise KeyboardInterrupt
            self.n_looks += 1
        return super().__getattribute__(name)


class _Elements(HTMLParser):
    """The names of all elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, _attributes: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)


@cache
def finished(folder: Path) -> Path:
    """The directory of a finished run of hostile text in this folder, made once for all checks, which copy it."""
    settings = [f"images.n={len(HOSTILE_IDS) + 1}", "images.hostile=true", "images.broken=1"]
    return run_with(fakes, folder / "finished-run", use="fake-images", settings=settings).dir


def opened(directory: Path) -> Run:
    """A run of fakes, opened with nothing read yet."""
    return open_run(directory, plugins=FAKES_ONLY)


def copied(directory: Path, to: Path) -> Run:
    """A copy of a run of fakes, opened."""
    shutil.copytree(directory, to)
    return opened(to)


def contents(directory: Path) -> dict[str, str]:
    """A digest of each file in a folder."""
    return {
        path.relative_to(directory).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


def written(reporter: Reporter, run: Run) -> Path:
    """The report that the reporter writes, checked as in a run to be a file."""
    return handover.report("the reporter", reporter.write(run))


def assert_holds_text(path: Path) -> None:
    """Assert that a page has no elements that came from text, and that JSON and XML can be read."""
    ending = path.suffix.lower()
    if ending in (".html", ".htm", ".xhtml", ".md"):
        page = _Elements()
        page.feed(path.read_text(encoding="utf-8"))
        assert "hostile-markup" not in page.names, f"text of the run became markup in {path.name}; escape it"
    elif ending == ".json":
        try:
            json.loads(path.read_bytes())
        except ValueError as error:
            raise AssertionError(f"{path.name} is not JSON: {error}") from None
    elif ending in (".svg", ".xml"):
        tags = {element.tag for element in ElementTree.parse(path).iter()}  # noqa: S314
        assert "hostile-markup" not in tags, f"text of the run became markup in {path.name}; escape it"


def differ(one: bytes, other: bytes) -> str:
    """The place from which two files differ, with what stands there."""
    place = next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))
    return f"byte {place:,}: {one[place : place + 20]!r}, then {other[place : place + 20]!r}"
