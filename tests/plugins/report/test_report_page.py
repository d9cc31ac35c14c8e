"""The page as a file: hostile text stays text, nothing is loaded from elsewhere, writing it is safe."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

import saeviz
from saeviz_report import HtmlOptions, saeviz_reporters
from saeviz_report.reporter import HtmlReport
from tests.plugins.report.page import CLS, PATCH, Element, FakeRun, Write, column, entries, parse, thumbnails

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
    def page(self, run: FakeRun, text: str) -> Element:
        """A page on which everything that is data says `text`."""
        feature = CLS.feature(7)
        item = replace(run.items[0], item_id=text, ratings={text: 1.0}, metadata={text: text})
        run.items[0] = item
        run.top[feature] = [saeviz.TopImage(item, 5.5), saeviz.TopImage(saeviz.ImageItem(text + "!", b"none"), 1.0)]
        run.labels[feature] = saeviz.FeatureLabel(text, text, (text,), text, 0.5)
        run.selected[0] = saeviz.Selected(feature, 1, text)
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
        return parse(HtmlReport(HtmlOptions(title=text), saeviz.Context()).write(run))  # type: ignore[arg-type]

    def test_adds_no_element_and_no_attribute(self, page: Element) -> None:
        harmless = """page html head meta title style script body header main nav section div h1 h2 h3 p a b i bdi span
            cite pre dl dt dd ul ol li table caption thead tbody tr th td details summary form label input select option
            output button img svg rect path"""
        assert {element.tag for element in page} <= set(harmless.split())
        assert len(page.all("script")) == len(page.all("style")) == 1
        assert len(page.all("img")) == 4
        names = {name for element in page for name in element.attributes}
        assert not [name for name in names if name.startswith("on") or name in ("style", "srcdoc", "formaction")]

    def test_leads_nowhere(self, page: Element) -> None:
        for element in page:
            for name in {"href", "src", "action", "data", "xlink:href"} & element.attributes.keys():
                assert re.fullmatch(r"#[\w.-]+|images/\w+\.webp", element.attributes[name])

    def test_is_shown_as_it_is(self, page: Element, text: str) -> None:
        shown = " ".join(text.split())
        assert page.one("h1").text == shown
        entry = entries(page)["layer8.cls/7"]
        assert entry.one("b", class_="label").text == shown
        assert entry.one("p", class_="description").text == shown
        assert entry.one("img")["alt"] == f"{text}, activation 5.50"
        assert text in (entry.one("img")["title"] or "")
        assert "+0.50" in column(page, shown)["layer8.cls/7"].text
        assert "0.4" in column(page, shown + "+")["layer8.cls/7"].text
        [failure, _] = page.one("table", id="left-out").one("tbody").all("tr")
        assert failure.text == shown * 3


@pytest.mark.parametrize("character", ["\u202e", "\u200f", "\u2066", "\x00", "\x1b", "\u2028", "\u200b", "\ufeff"])
def test_a_character_that_turns_or_breaks_text_is_spelt_out(run: FakeRun, write: Write, character: str) -> None:
    run.labels[CLS.feature(7)] = saeviz.FeatureLabel(f"evil{character}live")
    run.items[0] = replace(run.items[0], item_id=f"name{character}")
    run.top[CLS.feature(7)] = [saeviz.TopImage(run.items[0], 1.0)]
    page = write()
    spelt = f"\\u{ord(character):04x}"
    assert entries(page)["layer8.cls/7"].one("b", class_="label").text == f"evil{spelt}live"
    assert character not in (run.dir / "report" / "index.html").read_text(encoding="utf-8")


def test_other_scripts_stay_as_they_are(run: FakeRun, write: Write) -> None:
    run.labels[CLS.feature(7)] = saeviz.FeatureLabel("שלום 犬 می‌خواهم é")
    assert entries(write())["layer8.cls/7"].one("b", class_="label").text == "שלום 犬 می‌خواهم é"


class TestSelfContained:
    def test_the_page_loads_nothing_but_its_thumbnails(self, write: Write) -> None:
        page = write()
        assert not page.all("link") + page.all("iframe") + page.all("object") + page.all("base")
        loaded = [element.attributes["src"] for element in page if "src" in element.attributes]
        assert len(loaded) == 5
        assert all(re.fullmatch(r"images/\w+\.webp", source) for source in loaded)
        assert not re.search(r"url\(|@import|https?:", page.one("style").text + page.one("script").text)

    def test_its_policy_admits_its_own_script_and_style_only(self, write: Write) -> None:
        page = write()
        policy = page.one("meta", http_equiv="Content-Security-Policy").attributes["content"]
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == "'none'"
        for tag in ("script", "style"):
            [content] = page.one(tag).children
            assert isinstance(content, str)
            digest = b64encode(sha256(content.encode()).digest()).decode()
            assert rules[f"{tag}-src"] == f"'sha256-{digest}'"

    def test_where_the_pictures_lie_on_this_machine_is_not_told(self, run: FakeRun, write: Write) -> None:
        write()
        assert str(run.dir.parent) not in (run.dir / "report" / "index.html").read_text(encoding="utf-8")


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

        monkeypatch.setattr("saeviz_report.reporter.write_atomic", full)
        run.top[PATCH.feature(7)] = []
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


def test_the_plugin_offers_the_reporters_html_explorer_and_paper() -> None:
    spec, *others = saeviz_reporters()
    assert [other.name for other in others] == ["explorer", "paper"]
    assert (spec.name, spec.role, spec.options) == ("html", "reporter", HtmlOptions)
    assert isinstance(HtmlReport(HtmlOptions(), saeviz.Context()), saeviz.Reporter)


def test_the_page_leads_to_the_explorer_where_there_is_one(run: FakeRun, write: Write) -> None:
    address = {"href": "../explorer/index.html"}
    assert not write().all("a", **address)
    (run.dir / "explorer").mkdir()
    (run.dir / "explorer" / "index.html").write_text("an explorer")
    assert write().one("a", **address).text == "Look through all features and images"
