"""The report as files: hostile text stays text, and writing it is safe."""

from __future__ import annotations

import re
import shutil
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import saeviz
from saeviz_report import HtmlOptions, saeviz_reporters
from saeviz_report.explorer.reporter import HtmlReport
from tests.plugins.report.page import CLS, FakeRun, Write, thumbnails
from tests.report_data import Report

HOSTILE = [
    "<script>alert(1)</script>",
    '" onerror="alert(1)" x="',
    "' onload='alert(1)",
    "javascript:alert(1)",
    "</style><img src=x onerror=alert(1)>",
    "</title></textarea><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; &amp;",
    "]]><!--",
]


class TestHostileText:
    @pytest.fixture(params=HOSTILE)
    def text(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def report(self, run: FakeRun, text: str) -> Report:
        """A report in which everything that is data says `text`."""
        feature = CLS.feature(7)
        run.items[0] = replace(run.items[0], item_id=text, ratings={text: 1.0}, metadata={text: text})
        run.top = {feature: [saeviz.TopImage(run.items[0], 5.5), saeviz.TopImage(run.items[1], 1.0)]}
        run.labels[feature] = saeviz.FeatureLabel(text, text, (text,), text, 0.5)
        run.selected = [saeviz.Selected(feature, 1, text)]
        run.scores = run.scores.rename(columns={"coverage": text + "+"}).assign(ms_class=text, kind=text)
        run.correlations = run.correlations.replace({"rating": {"beauty": text}}).assign(**{text + "?": text})
        run.ratings = [text, "calm"]
        run.failures = [saeviz.Failure(text, text, text)]
        run.manifest = {
            "config": {"labeler": {"use": text, text: text}, "run": {"device": text}},
            "versions": {text: text},
            "stages": {text: {"counts": {text: text}, "finished": text}},
        }
        run.facts = {text: text}
        page = HtmlReport(HtmlOptions(title=text), saeviz.Context()).write(run)  # type: ignore[arg-type]
        return Report(page.parent)

    def test_is_in_no_file_as_markup(self, report: Report) -> None:
        page = (report.folder / "index.html").read_text(encoding="utf-8")
        assert page.count("<script") == page.count("<script src=")
        for file in report.data.rglob("*.js"):
            script = file.read_text(encoding="ascii")
            assert not set(script) & set("<>")
            assert script.startswith("saeviz.receive(")

    def test_the_page_is_the_same_whatever_the_data_say(self, report: Report, write: Write) -> None:
        def page() -> str:
            return re.sub(r"content-\w+", "", (report.folder / "index.html").read_text(encoding="utf-8"))

        before = page()
        assert report.data != write(title="another").data
        assert page() == before

    def test_is_handed_over_as_it_is(self, report: Report, text: str) -> None:
        feature = CLS.feature(7)
        assert report.run["title"] == text
        assert report.value(feature, "label") == text
        card = report.card(feature)
        assert (card["description"], card["elements"], card["why"], card["reason"]) == (text, [text], text, text)
        assert report.content("items")["ids"][0] == text
        assert report.value(feature, "r", text) == 0.5
        assert report.value(feature, text + "+") == np.float32(0.4)
        assert report.run["failures"] == [[text] * 3]


@pytest.mark.parametrize(
    "character", ["\u202e", "\u200f", "\u2066", "\x00", "\x1b", "\u2028", "\u200b", "\ufeff", "\ud800"]
)
def test_a_character_that_turns_or_breaks_text_is_in_no_file_as_it_is(
    run: FakeRun, write: Write, character: str
) -> None:
    """The viewer spells it out: see the tests in the browser."""
    run.labels[CLS.feature(7)] = saeviz.FeatureLabel("name", f"evil{character}live")
    report = write()
    assert report.card(CLS.feature(7))["description"] == f"evil{character}live"
    assert not [file for file in report.data.rglob("*.js") if character in file.read_text(encoding="ascii")]


def test_where_the_pictures_lie_on_this_machine_is_not_told(run: FakeRun, write: Write) -> None:
    files = [path for path in write().folder.rglob("*") if path.suffix in (".html", ".js")]
    assert not [path for path in files if str(run.dir.parent) in path.read_text(encoding="utf-8")]


def test_one_file_has_a_policy_that_admits_its_own_script_and_style_only(run: FakeRun) -> None:
    page = HtmlReport(HtmlOptions(single_file=True), saeviz.Context()).write(run)  # type: ignore[arg-type]
    assert page == run.dir / "report.html"
    assert not (run.dir / "report").exists()
    html = page.read_text(encoding="utf-8")
    [policy] = re.findall('Content-Security-Policy" content="([^"]*)', html)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for tag in ("script", "style"):
        [content] = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = b64encode(sha256(content.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"


class TestOtherForms:
    """A page of an earlier run would show old results beside the new one."""

    def written(self, run: FakeRun, *, single_file: bool) -> Path:
        return HtmlReport(HtmlOptions(single_file=single_file), saeviz.Context()).write(run)  # type: ignore[arg-type]

    def test_the_other_form_goes_when_this_one_is_there(self, run: FakeRun) -> None:
        folder = self.written(run, single_file=False).parent
        (folder / "content-0" / "kept.txt").parent.mkdir()
        shutil.copytree(folder, run.dir / "explorer")
        page = self.written(run, single_file=True)
        assert [folder.exists(), (run.dir / "explorer").exists(), page.exists()] == [False, False, True]
        assert self.written(run, single_file=False).exists()
        assert not page.exists()

    def test_what_another_reporter_of_the_run_writes_stays(self, run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
        both = {"config": {"reporters": [{"use": "html"}, {"use": "html", "single_file": True}]}}
        monkeypatch.setattr(run, "manifest", {**run.manifest, **both}, raising=False)
        pages = [self.written(run, single_file=single_file) for single_file in (False, True, False)]
        assert all(page.exists() for page in pages)

    def test_what_no_report_has_written_stays(self, run: FakeRun) -> None:
        (run.dir / "report").mkdir(parents=True)
        (run.dir / "report" / "index.html").write_text("mine")
        self.written(run, single_file=True)
        assert (run.dir / "report" / "index.html").read_text() == "mine"
        (run.dir / "report.html").write_text("mine, too")
        self.written(run, single_file=False)
        assert (run.dir / "report.html").read_text() == "mine, too"


class TestWriting:
    def test_gives_the_path_of_the_page(self, run: FakeRun) -> None:
        path = HtmlReport(HtmlOptions(), saeviz.Context()).write(run)  # type: ignore[arg-type]
        assert path == run.dir / "report" / "index.html"
        assert path.is_file()

    def test_the_same_run_gives_the_same_page(self, run: FakeRun, write: Write) -> None:
        write()
        first = (run.dir / "report" / "index.html").read_bytes()
        write()
        assert (run.dir / "report" / "index.html").read_bytes() == first

    def test_the_earlier_page_stays_whole_when_writing_fails(
        self, run: FakeRun, write: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write()
        page, shown = (run.dir / "report" / "index.html").read_bytes(), thumbnails(run)

        def full(*_args: Any) -> None:
            raise saeviz.RunDirError("no space")

        monkeypatch.setattr("saeviz_report.explorer.reporter.write_atomic", full)
        run.items = run.items[:4]
        with pytest.raises(saeviz.RunDirError):
            write()
        assert (run.dir / "report" / "index.html").read_bytes() == page
        assert shown <= thumbnails(run)

    def test_a_file_in_the_way_is_explained(self, run: FakeRun, write: Write) -> None:
        run.dir.mkdir()
        (run.dir / "report").write_text("not a folder")
        with pytest.raises(saeviz.RunDirError, match="report"):
            write()


@pytest.mark.parametrize("wrong", [{"top_images": 0}, {"thumbnail_size": 8}, {"top_image": 4}])
def test_options_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        HtmlOptions(**wrong)


def test_the_plugin_offers_the_reporters_html_and_paper() -> None:
    spec, *others = saeviz_reporters()
    assert [other.name for other in others] == ["paper"]
    assert (spec.name, spec.role, spec.options) == ("html", "reporter", HtmlOptions)
    assert isinstance(HtmlReport(HtmlOptions(), saeviz.Context()), saeviz.Reporter)
    assert isinstance(HtmlReport(HtmlOptions(), saeviz.Context()), saeviz.ComparisonReporter)
