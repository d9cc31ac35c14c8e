"""The contract of reporters is demanding: each of these faults is found by the check that is about it."""

from __future__ import annotations

import html
import itertools
from pathlib import Path

import pytest

import saeviz
from saeviz.testing import ReporterContract, fakes
from saeviz.testing.data import Surroundings
from saeviz.testing.reporters import copied, finished
from saeviz.toolkit.files import write_atomic
from tests.core.test_testing_contracts import failed_tests


class TestFakeReporter(ReporterContract):
    component = fakes.FakeReporter

    @pytest.fixture
    def make(self):
        return lambda context: fakes.FakeReporter(saeviz.Options(), context)


class Page(fakes.FakeReporter):
    """A page of the titles of images, as it should be."""

    numbers = itertools.count()

    def write(self, run):
        path = self.context.workdir / "page.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.save(path, "".join(f"<p>{self.text(item.metadata['title'])}</p>" for item in run.items), run)
        return path

    def text(self, title):
        return html.escape(title)

    def save(self, path, page, run):
        write_atomic(path, page)


class TestPage(ReporterContract):
    component = Page

    @pytest.fixture
    def make(self):
        return lambda context: Page(saeviz.Options(), context)


class ReturnsText(Page):
    def write(self, run):
        return str(super().write(run))


class SaysThatItWrote(Page):
    def write(self, run):
        return Path("not-there.html")


class WritesMarkup(Page):
    def text(self, title):
        return title


class CountsItsReports(Page):
    def text(self, title):
        return f"{next(self.numbers)} {super().text(title)}"


class WritesInPlace(Page):
    def save(self, path, page, run):
        path.write_text(page, encoding="utf-8")


class RemovesFirst(Page):
    def write(self, run):
        (self.context.workdir / "page.html").unlink(missing_ok=True)
        return super().write(run)


class EditsTheRun(Page):
    def save(self, path, page, run):
        super().save(path, page, run)
        (run.dir / "selected.csv").write_text("sae\n")


class NeedsRatings(Page):
    def write(self, run):
        run.ratings[0]
        return super().write(run)


class ViewerElsewhere(Page):
    def write_viewer(self, run, folder):
        return self.write(run)


@pytest.mark.parametrize(
    ("reporter", "test"),
    [
        (ReturnsText, "test_the_file_that_it_returns_is_there"),
        (SaysThatItWrote, "test_the_file_that_it_returns_is_there"),
        (WritesMarkup, "test_hostile_text_stays_text"),
        (CountsItsReports, "test_says_the_same_twice"),
        (WritesInPlace, "test_a_report_takes_the_place_of_the_former_one_at_once"),
        (RemovesFirst, "test_one_that_is_interrupted_leaves_the_former_report"),
        (EditsTheRun, "test_the_run_is_as_it_was"),
        (NeedsRatings, "test_takes_what_there_is_or_says_what_is_missing"),
        (ViewerElsewhere, "test_its_viewer_lies_in_the_folder_that_it_is_given"),
    ],
)
def test_a_faulty_reporter_is_found(tmp_path_factory, reporter, test):
    def make(context):
        return reporter(saeviz.Options(), context)

    def fixtures():
        folder = tmp_path_factory.mktemp("faulty")
        return {
            "make": make,
            "reporter": make(Surroundings(folder).context),
            "run": copied(finished(tmp_path_factory.getbasetemp()), folder / "run"),
            "tmp_path": folder,
        }

    assert failed_tests(ReporterContract, fixtures, only=test) == {test}
