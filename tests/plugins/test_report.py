"""The HTML report, read back with a parser: facts about the page, not its layout."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import saeviz
from saeviz.formats.judgements import JudgedImage, Judgement, table_of
from saeviz_report import HtmlOptions, saeviz_reporters
from saeviz_report.reporter import HtmlReport

VOID = {"meta", "img", "input", "br", "hr", "link", "rect", "path"}
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
CLS = saeviz.FeatureSpace(8, "cls", 100)
PATCH = saeviz.FeatureSpace(8, "patch-max", 100)


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Element]:
        """This element and all below it."""
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child

    def all(self, tag: str = "", **wanted: str) -> list[Element]:
        """Elements of a tag whose attributes have these values; `class_` and `data_x` stand for class and data-x."""
        names = {name.rstrip("_").replace("_", "-"): value for name, value in wanted.items()}
        return [
            element
            for element in self
            if tag in ("", element.tag)
            and all(
                value in element.attributes.get(name, "").split() if name == "class" else element[name] == value
                for name, value in names.items()
            )
        ]

    def one(self, tag: str = "", **wanted: str) -> Element:
        [element] = self.all(tag, **wanted)
        return element

    def __getitem__(self, name: str) -> str | None:
        return self.attributes.get(name)

    @property
    def text(self) -> str:
        """What stands in it, runs of white space as one."""
        return " ".join("".join(self.strings()).split())

    def strings(self) -> Iterator[str]:
        for child in self.children:
            yield from [child] if isinstance(child, str) else child.strings()


class PageParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("page", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(path: Path) -> Element:
    parser = PageParser()
    parser.feed(path.read_text(encoding="utf-8"))
    [page] = parser.open
    return page


@dataclass
class FakeRun:
    """The attributes of `saeviz.Run` that a reporter uses."""

    dir: Path
    items: list[saeviz.ImageItem]
    top: dict[saeviz.Feature, list[saeviz.TopImage]]
    scores: pd.DataFrame
    correlations: pd.DataFrame
    selected: list[saeviz.Selected]
    labels: dict[saeviz.Feature, saeviz.FeatureLabel]
    ratings: list[str]
    spaces: list[saeviz.FeatureSpace]
    failures: list[saeviz.Failure]
    manifest: dict[str, Any]
    facts: dict[str, Any]
    together: dict[saeviz.Feature, list[saeviz.Feature]] = field(default_factory=dict)
    judgements: pd.DataFrame = field(default_factory=lambda: table_of([]))

    def top_images(self, feature: saeviz.Feature, k: int | None = None) -> list[saeviz.TopImage]:
        return self.top[feature][:k]

    def companions(self, feature: saeviz.Feature) -> list[saeviz.Feature]:
        return self.together.get(feature, [])


def score(feature: saeviz.Feature, **values: Any) -> dict[str, Any]:
    return {"layer": feature.layer, "tokens": feature.tokens, "feature": feature.index, **values}


def picture(number: int, size: tuple[int, int] = (320, 256)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, (number * 40 % 256, 90, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    """Three selected features of two spaces, six images, two ratings."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    items = []
    for number in range(6):
        path = folder / f"{number}.jpg"
        path.write_bytes(picture(number))
        ratings = {"beauty": float(number)} | ({"calm": 1.5} if number < 4 else {})
        items.append(saeviz.ImageItem(f"item/{number}", path, ratings, {"theme": f"theme {number}"}))
    a, b, c = CLS.feature(7), PATCH.feature(7), PATCH.feature(42)
    silent = PATCH.feature(1)
    scores = [
        score(a, n_active=4, max=5.5, mean=1.25, monosemanticity=0.6123, ms_class="monosemantic", coverage=0.4),
        score(b, n_active=1234, max=3.0, mean=0.5, monosemanticity=np.nan, ms_class="", coverage=0.2),
        score(c, n_active=5, max=2.0, mean=0.1, monosemanticity=0.2, ms_class="polysemantic", coverage=np.nan),
        score(silent, n_active=0, max=0.0, mean=0.0, monosemanticity=np.nan, ms_class="", coverage=0.0),
    ]
    nothing = {"p": np.nan, "q": np.nan, "ci_low": np.nan, "ci_high": np.nan, "significant": np.nan}
    correlations = [
        score(a, rating="beauty", n=6, r=0.5, p=1e-9, q=2e-8, ci_low=0.3, ci_high=0.65, significant=1.0),
        score(a, rating="calm", n=4, r=-0.25, p=0.01, q=0.031, ci_low=-0.4, ci_high=-0.1, significant=1.0),
        score(b, rating="beauty", n=6, r=-0.1, p=0.4, q=0.6, ci_low=-0.3, ci_high=0.1, significant=0.0),
        score(b, rating="calm", n=4, r=np.nan, **nothing),
        score(c, rating="beauty", n=6, r=0.04, p=0.7, q=0.8, ci_low=-0.2, ci_high=0.3, significant=0.0),
        score(c, rating="calm", n=4, r=0.99, **nothing),
        score(silent, rating="beauty", n=6, r=-0.6, p=1e-4, q=1e-3, ci_low=-0.7, ci_high=-0.5, significant=1.0),
    ]
    top = {
        a: [saeviz.TopImage(items[0], 5.5), saeviz.TopImage(items[1], 4.25)],
        b: [saeviz.TopImage(items[1], 3.0), saeviz.TopImage(items[2], 2.0), saeviz.TopImage(items[3], 1.0)],
        c: [],
    }
    return FakeRun(
        dir=tmp_path / "my-run",
        items=items,
        top=top,
        scores=pd.DataFrame(scores),
        correlations=pd.DataFrame(correlations),
        selected=[
            saeviz.Selected(a, 1, "clear and predictive"),
            saeviz.Selected(b, 2, "moderate"),
            saeviz.Selected(c, 2, "moderate"),
        ],
        labels={a: saeviz.FeatureLabel("red barn", "A barn.", ("roof", "door"), "People like barns.", 0.875)},
        ratings=["beauty", "calm"],
        spaces=[CLS, PATCH],
        failures=[saeviz.Failure("extract", "broken.jpg", "cannot be read")],
        manifest={
            "config": {
                "labeler": {"use": "gemini"},
                "embeddings": {"use": "dinov2"},
                "run": {"device": "cpu", "seed": 0},
            },
            "versions": {"saeviz": "0.1.0"},
            "stages": {"extract": {"digest": "0", "seconds": 75.0, "counts": {"images": 6, "rated": {"calm": 4}}}},
        },
        facts={"monosemanticity_cutoffs": [0.35, 0.5], "family_size": 6000},
    )


Write = Callable[..., Element]


@pytest.fixture
def write(run: FakeRun) -> Write:
    def _write(context: saeviz.Context | None = None, **options: Any) -> Element:
        return parse(HtmlReport(HtmlOptions(**options), context or saeviz.Context()).write(run))

    return _write


def entries(page: Element) -> dict[str, Element]:
    found = page.all("tbody", class_="feature")
    by_feature = {entry.attributes["data-feature"]: entry for entry in found}
    assert len(by_feature) == len(found)
    return by_feature


def cells(entry: Element) -> list[Element]:
    """The cells of the row of figures, in the order of the columns."""
    row = entry.one("tr", class_="scores")
    return [child for child in row.children if isinstance(child, Element)]


def column(page: Element, name: str) -> dict[str, Element]:
    """What stands below a header, by feature."""
    headers = page.one("table", id="selected").all("th", role="columnheader")
    [place] = [place for place, header in enumerate(headers) if header.text == name]
    return {feature: cells(entry)[place] for feature, entry in entries(page).items()}


def thumbnails(run: FakeRun) -> set[str]:
    return {path.name for path in (run.dir / "report" / "images").iterdir()}


def show_only(run: FakeRun, item: saeviz.ImageItem) -> None:
    run.top = {feature: [saeviz.TopImage(item, 1.0)] for feature in run.top}


def ids_shown(entry: Element) -> list[str]:
    return [image.attributes["alt"].partition(",")[0] for image in entry.all("img")]


class TestFeatures:
    def test_each_selected_feature_comes_once_best_first(self, write: Write) -> None:
        page = write()
        assert list(entries(page)) == ["layer8.cls/7", "layer8.patch-max/7", "layer8.patch-max/42"]
        assert [cell["data-value"] for cell in column(page, "#").values()] == ["1", "2", "3"]

    def test_the_page_opens_with_the_strongest_relation_whatever_the_tier(self, run: FakeRun, write: Write) -> None:
        table = run.correlations.copy()
        last = saeviz.Feature(8, "patch-max", 42)
        of_last = (table["tokens"] == last.tokens) & (table["feature"] == last.index)
        table.loc[of_last, ["r", "q", "significant"]] = [0.8, 0.001, 1.0]
        run.correlations = table

        assert next(iter(entries(write()))) == str(last)

    def test_has_tier_monosemanticity_class_and_number_of_images(self, write: Write) -> None:
        page = write()
        assert [cell["data-value"] for cell in column(page, "Tier").values()] == ["1", "2", "2"]
        ms = column(page, "MS")["layer8.cls/7"]
        assert "0.61" in ms.text
        assert "monosemantic" in ms.text
        assert float(ms.attributes["data-value"]) == 0.6123
        assert "1,234" in column(page, "Active on")["layer8.patch-max/7"].text

    def test_monosemanticity_comes_with_its_null_and_the_second_embedding(self, run: FakeRun, write: Write) -> None:
        null = {"ms_baseline_mean": 0.2, "ms_baseline_sd": 0.1, "ms_null_mean": 0.195, "ms_null_sd": 0.0304}
        test = {"ms_z": 13.74, "ms_p": 9.9e-5, "ms_q": 0.0123, "monosemanticity_2": 0.5411, "ms_class_2": "moderate"}
        undefined = dict.fromkeys((*null, *test), np.nan) | {"ms_class_2": ""}
        notes = ["", "fires on fewer than two images", "", "fires on fewer than two images"]
        for name, value in {**null, **test}.items():
            run.scores[name] = [value, undefined[name], undefined[name], undefined[name]]
        run.scores["ms_note"] = notes
        page = write()
        assert "q = 0.012" in column(page, "MS")["layer8.cls/7"].text
        assert "q" not in column(page, "MS")["layer8.patch-max/7"].text
        first, second, third = entries(page).values()
        details = first.one("details").text
        assert "random 0.195 (SD 0.030), z +13.7, p 9.9e-05, q 0.012" in details.replace(MINUS, "-")
        assert "0.54 moderate" in details
        assert "fires on fewer than two images" in second.one("details").text
        assert "random" not in third.one("details").text
        assert not [header for header in page.one("table", id="selected").all("th") if header.text.startswith("ms_")]

    def test_r_has_its_sign_its_q_and_its_mark(self, write: Write) -> None:
        page = write()
        beauty, calm = column(page, "beauty"), column(page, "calm")
        first = "layer8.cls/7"
        assert "+0.50" in beauty[first].text
        assert "q < 0.001" in beauty[first].text
        assert f"{MINUS}0.25" in calm[first].text
        assert "q = 0.031" in calm[first].text
        marked = {
            (feature, name)
            for name, cells in (("beauty", beauty), ("calm", calm))
            for feature, cell in cells.items()
            if "significant" in cell.text
        }
        assert marked == {(first, "beauty"), (first, "calm")}

    def test_a_bar_reaches_from_zero_to_r_on_the_scale_of_the_page(self, write: Write) -> None:
        page = write()
        positive = column(page, "beauty")["layer8.cls/7"].one("rect", class_="positive")
        negative = column(page, "calm")["layer8.cls/7"].one("rect", class_="negative")
        # The largest of all r and ends of intervals is 0.99, so the scale is -1 to 1, drawn from -100 to 100.
        assert (float(positive.attributes["x"]), float(positive.attributes["width"])) == (0, 50)
        assert (float(negative.attributes["x"]), float(negative.attributes["width"])) == (-25, 25)

    def test_an_interval_outside_the_bar_still_fits_the_scale(self, run: FakeRun, write: Write) -> None:
        run.correlations = run.correlations[run.correlations["rating"] == "beauty"]
        bar = column(write(), "beauty")["layer8.cls/7"]
        # The scale ends at 0.7, the next tenth after 0.65.
        assert float(bar.one("rect", class_="positive").attributes["width"]) == pytest.approx(100 * 0.5 / 0.7, abs=0.1)
        ends = re.findall(r"[-\d.]+", bar.one("path", class_="interval").attributes["d"])
        assert [float(ends[0]), float(ends[2])] == pytest.approx([100 * 0.3 / 0.7, 100 * 0.65 / 0.7], abs=0.1)

    def test_a_missing_value_is_a_dash_and_never_nan(self, run: FakeRun, write: Write) -> None:
        page = write()
        for name in ("MS", "calm"):
            cell = column(page, name)["layer8.patch-max/7"]
            assert cell["data-value"] == ""
            assert DASH in cell.text
        assert not re.search(r"\b(nan|None)\b", page.one("main").text)

    def test_is_called_by_its_label_or_else_by_its_number(self, write: Write) -> None:
        named, unnamed, _ = (cell.text for cell in column(write(), "Feature").values())
        assert "red barn" in named
        assert "confidence 0.88" in named
        assert "layer8.cls/7" in named
        assert "feature 7" in unnamed
        assert "confidence" not in unnamed

    def test_shows_all_that_the_labeler_said(self, write: Write) -> None:
        text = entries(write())["layer8.cls/7"].text
        for part in ("A barn.", "roof, door", "People like barns.", "clear and predictive"):
            assert part in text

    def test_says_which_features_fire_together_with_it_and_finds_it_by_them(self, run: FakeRun, write: Write) -> None:
        feature = run.selected[0].feature
        run.together = {feature: [PATCH.feature(number) for number in range(30, 55)]}
        run.scores = run.scores.assign(cluster=3.0, cluster_size=26.0)
        page = write()
        entry = entries(page)[str(feature)]
        assert "fires together with 25 more" in entry.one("th", class_="name").text
        assert "layer8.patch-max/30, layer8.patch-max/31" in entry.one("dd", class_="companions").text
        assert entry.one("dd", class_="companions").text.endswith("layer8.patch-max/49 and 5 more")
        assert "layer8.patch-max/54" in entry["data-searchable"]
        assert "fires together" not in entries(page)[str(run.selected[1].feature)].text
        assert "cluster" not in [
            header.text for header in page.one("table", id="selected").all("th", role="columnheader")
        ]

    def test_columns_of_further_scorers_are_columns_of_the_table(self, run: FakeRun, write: Write) -> None:
        run.scores["kind"] = ["texture", "", "object", ""]
        page = write()
        coverage = column(page, "coverage")
        assert [cell["data-value"] for cell in coverage.values()] == ["0.4", "0.2", ""]
        assert [cell.text.removeprefix("kind ") for cell in column(page, "kind").values()] == [
            "texture",
            DASH,
            "object",
        ]

    def test_columns_of_further_scorers_about_ratings_are_listed_with_the_feature(
        self, run: FakeRun, write: Write
    ) -> None:
        run.correlations["spearman"] = [0.123, *[np.nan] * 6]
        table = entries(write())["layer8.cls/7"].one("details").one("table")
        assert [header.text for header in table.all("th", scope="col")][-1] == "spearman"
        assert [row.all("td")[-1].text for row in table.one("tbody").all("tr")] == ["0.123", DASH]


def hold_out(run: FakeRun, **facts: Any) -> None:
    """The run tells that relations were found on one part and tested again on the other."""
    again = {"n_held_out": 5, "p_held_out": 0.01, "r_held_out": [0.4, -0.2, 0.8, np.nan, np.nan, 0.1, 0.6]}
    nothing = [np.nan] * 4
    run.correlations = run.correlations.assign(
        **again, q_held_out=[0.02, 0.3, *nothing, 0.4], replicated=[1.0, 0.0, *nothing, 0.0]
    )
    run.facts |= {"correlation_measure": "Pearson's r", "correlation_split": 0.5, **facts}


class TestHeldOut:
    def test_each_r_has_its_held_out_r_beside_it_and_says_whether_it_was_confirmed(
        self, run: FakeRun, write: Write
    ) -> None:
        hold_out(run)
        page = write()
        shown = {
            (feature, rating): cell.one("div", class_="held-out").text
            for rating in ("beauty", "calm")
            for feature, cell in column(page, rating).items()
        }
        assert shown["layer8.cls/7", "beauty"] == "held out +0.40 ✓ replicated"
        assert shown["layer8.cls/7", "calm"] == f"held out {MINUS}0.20 ✗ not replicated"
        assert shown["layer8.patch-max/7", "beauty"] == "held out +0.80"
        assert shown["layer8.patch-max/7", "calm"] == f"held out {DASH}"

    def test_it_is_a_mark_on_the_bar_whose_scale_has_room_for_it(self, run: FakeRun, write: Write) -> None:
        hold_out(run)
        bar = column(write(), "beauty")["layer8.patch-max/7"].one("svg")
        # 0.8 on a scale that ends at 1.0, for the r of 0.99
        assert bar.one("path", class_="held-out")["d"] == "M80.0 -8V8"

    def test_the_summary_tells_how_many_of_how_many_were_confirmed(self, run: FakeRun, write: Write) -> None:
        hold_out(run)
        rows = write().one("table", id="ratings").one("tbody").all("tr")
        assert [row.all("td")[-2].text for row in rows] == ["1 of 2", "0 of 1"]

    def test_all_figures_have_both_parts(self, run: FakeRun, write: Write) -> None:
        hold_out(run)
        first = entries(write())["layer8.cls/7"].one("details").one("tbody").all("tr")[0]
        assert [cell.text for cell in first.all("td")][-4:] == ["+0.4000", "0.01", "0.02", "5"]

    def test_the_held_out_r_has_its_interval(self, run: FakeRun, write: Write) -> None:
        hold_out(run)
        run.correlations = run.correlations.assign(ci_low_held_out=-0.1234, ci_high_held_out=0.765)
        first = entries(write())["layer8.cls/7"].one("details").one("tbody").all("tr")[0]
        assert "\N{MINUS SIGN}0.123 to +0.765" in [cell.text.strip() for cell in first.all("td")]

    def test_without_held_out_images_nothing_is_said_of_them(self, write: Write) -> None:
        text = write().one("main").text.lower()
        assert "held out" not in text
        assert "held-out" not in text


class TestMethod:
    @pytest.mark.parametrize(
        ("facts", "said"),
        [
            ({"measure": "Pearson's r"}, "Pearson's correlation"),
            ({"measure": "partial r"}, "held constant"),
            ({"correction": "by"}, "Benjamini and Yekutieli"),
            ({"correction": "max-t", "alpha": 0.01}, "even one pair with q up to 0.01 is an accident is at most 1 %"),
            ({"correction": "bh", "alpha": 0.1}, "up to 0.1, at most about 10 % are expected to be chance"),
            ({"family": "rating", "correction": "bh"}, "with the same rating"),
            ({"family": "space", "correction": "bh"}, "of the same layer and tokens"),
            ({}, "The correlation of the feature's activation with the rating"),
        ],
    )
    def test_the_page_explains_the_correlation_and_correction_that_were_used(
        self, run: FakeRun, write: Write, facts: dict[str, Any], said: str
    ) -> None:
        run.facts = {f"correlation_{name}": value for name, value in facts.items()}
        assert said in write().one("section", id="reading").text

    def test_a_run_with_another_correlation_only_shows_that(self, run: FakeRun, write: Write) -> None:
        keys = ["layer", "tokens", "feature", "rating"]
        plain = write()
        run.correlations = run.correlations.rename(columns=lambda name: name if name in keys else f"spearman_{name}")
        run.facts = {"spearman_measure": "Spearman's rho", "spearman_correction": "bonferroni"}
        page = write()
        assert [cell.text for cell in column(page, "beauty").values()] == [
            cell.text for cell in column(plain, "beauty").values()
        ]
        assert "The bar is Spearman's rho" in page.text
        assert "adjusted by Bonferroni" in page.text

    def test_a_second_correlation_is_a_row_of_its_own_among_all_figures(self, run: FakeRun, write: Write) -> None:
        run.correlations = run.correlations.assign(partial_r=-0.125, partial_p=0.5, partial_q=0.75, partial_n=4)
        run.facts |= {"correlation_measure": "Pearson's r", "partial_measure": "partial r"}
        rows = entries(write())["layer8.cls/7"].one("details").one("tbody").all("tr")
        assert [row.all("td")[0].text for row in rows] == ["Pearson's r", "partial r"] * 2
        assert [cell.text for cell in rows[1].all("td")][1:] == [f"{MINUS}0.1250", DASH, "0.5", "0.75", "4"]


def judged(n_found: int, n_passed_over: int, *, n_hard_passed_over: int = 4, reason: str = "") -> pd.DataFrame:
    """The name of the first feature judged on 12 active and 12 silent images, 4 of these hard."""
    scores: dict[str, list[float]] = {
        "active": [1.0] * n_found + [0.0] * (12 - n_found),
        "silent": [0.0] * (n_passed_over - 4) + [1.0] * (12 - n_passed_over),
        "hard": [0.0] * n_hard_passed_over + [1.0] * (4 - n_hard_passed_over),
    }
    images = tuple(
        JudgedImage(f"{kind} {number}", kind, 0.0, score)  # type: ignore[arg-type]
        for kind, given in scores.items()
        for number, score in enumerate(given)
    )
    feature = saeviz.Feature(8, "cls", 7)
    return table_of([Judgement(feature, "red barn", () if reason else images, reason, "key")])


class TestJudgement:
    def test_a_name_that_holds_is_confirmed(self, run: FakeRun, write: Write) -> None:
        run.judgements = judged(12, 11)
        entry = entries(write())["layer8.cls/7"]
        assert entry.one("span", class_="judged").text == "name confirmed 0.96 (0.78 to 0.99)"
        assert "doubtful" not in entry.one("b", class_="label")["class"]
        figures = {one.one("dt").text: one.one("dd").text for one in entry.one("dl").all("div")}
        assert figures["Found of 12 images on which it fires"] == "100 %"
        assert figures["Passed over of 12 on which it is silent"] == "92 %"
        assert figures["Of these, of 4 look-alikes"] == "100 %"

    def test_a_name_that_fails_is_marked(self, run: FakeRun, write: Write) -> None:
        run.judgements = judged(5, 7)
        entry = entries(write())["layer8.cls/7"]
        assert "fails" in entry.one("span", class_="judged").text
        assert "doubtful" in entry.one("b", class_="label")["class"]

    def test_a_name_that_also_fits_look_alikes_is_too_broad(self, run: FakeRun, write: Write) -> None:
        run.judgements = judged(12, 12, n_hard_passed_over=1)
        assert entries(write())["layer8.cls/7"].one("span", class_="judged").text.endswith(", too broad")

    def test_a_name_that_could_not_be_judged_says_why(self, run: FakeRun, write: Write) -> None:
        run.judgements = judged(0, 4, reason="only <2> images")
        entry = entries(write())["layer8.cls/7"]
        assert entry.one("span", class_="judged").text == "name not judged: only <2> images"

    def test_without_a_judge_nothing_is_claimed(self, write: Write) -> None:
        page = write()
        assert page.all("span", class_="judged") == []
        assert any("Nobody has judged" in note.text for note in page.all("p", class_="note"))


class TestSummary:
    def test_counts_images_tiers_names_and_failures(self, write: Write) -> None:
        page = write()
        figures = {entry.one("dt").text: entry.one("dd").text for entry in page.one("dl", class_="figures").all("div")}
        assert figures == {
            "Images": "6", "Selected features": "3", "Tier 1": "1", "Tier 2": "2", "Named": "1", "Left out": "1",
        }  # fmt: skip

    def test_counts_verdicts_where_names_were_judged(self, run: FakeRun, write: Write) -> None:
        run.judgements = judged(12, 12)
        figures = [entry.one("dt").text for entry in write().one("dl", class_="figures").all("div")]
        assert figures[-5:] == ["Names confirmed", "Names that fail", "Names undecided", "Names not judged", "Left out"]
        run.judgements = judged(0, 4, reason="only 2 images")
        counts = {
            entry.one("dt").text: entry.one("dd").text for entry in write().one("dl", class_="figures").all("div")
        }
        assert (counts["Names undecided"], counts["Names not judged"]) == ("0", "1")

    def test_tells_of_each_rating_how_many_features_of_the_whole_run_go_along_with_it(self, write: Write) -> None:
        rows = write().one("table", id="ratings").one("tbody").all("tr")
        by_name = {row.one("th").text: [cell.text for cell in row.all("td")] for row in rows}
        # Images, mean and SD, tested, significant, of these positive, negative, strongest. The feature that
        # was not selected counts; an r without q was not tested.
        assert by_name["beauty"] == ["6", "2.50 (1.87)", "4", "2", "1", "1", f"{MINUS}0.60"]
        assert by_name["calm"] == ["4", "1.50 (0.00)", "1", "1", "0", "1", f"{MINUS}0.25"]

    def test_an_r_that_nobody_tested_is_not_called_insignificant(self, run: FakeRun, write: Write) -> None:
        run.correlations = run.correlations[["layer", "tokens", "feature", "rating", "r"]]
        row = write().one("table", id="ratings").one("tbody").all("tr")[0]
        assert [cell.text for cell in row.all("td")][2:] == ["4", DASH, DASH, DASH, f"{MINUS}0.60"]

    def test_tells_how_many_features_of_a_space_are_live(self, write: Write) -> None:
        rows = write().one("table", id="spaces").one("tbody").all("tr")
        assert [[child.text for child in row.all("td")] for row in rows] == [["100", "1", "1"], ["100", "2", "2"]]

    def test_lists_the_figures_that_scorers_left(self, write: Write) -> None:
        facts = write().one("dl", id="facts")
        assert [value.text for value in facts.all("dd")] == ["0.35, 0.5", "6,000"]

    def test_says_by_what_monosemanticity_is_to_be_judged(self, run: FakeRun, write: Write) -> None:
        run.facts = {
            "monosemanticity_definition": "top-k",
            "monosemanticity_baseline_mean": 0.19512,
            "monosemanticity_baseline_sd": 0.1541,
            "monosemanticity_baseline_pairs": 50_000,
            "monosemanticity_thresholds": "calibrated",
            "monosemanticity_cutoffs": [0.349, 0.503],
            "monosemanticity_p": "up to 10,000 draws",
            "monosemanticity_family_size": 48_000,
            "monosemanticity_above_chance": 12_345,
            "monosemanticity_agreement_features": 47_000,
            "monosemanticity_agreement_pearson": 0.81,
            "monosemanticity_agreement_spearman": 0.76,
            "monosemanticity_agreement_same_class": 0.7,
        }
        text = write().one("p", id="monosemanticity").text
        assert "similarity of 0.195 (SD 0.154, 50,000 pairs)" in text
        assert "moderate from 0.349, monosemantic from 0.503 (cut-offs: calibrated; definition: top-k)" in text
        assert "12,345 of 48,000 features" in text
        assert "p from up to 10,000 draws" in text
        assert "Spearman's r 0.76 and Pearson's r 0.81" in text
        assert text.rstrip(".").endswith("is 0.7")

    def test_says_nothing_of_it_where_nothing_was_measured(self, run: FakeRun, write: Write) -> None:
        run.facts = {"monosemanticity_images": 0}
        assert not write().all("p", id="monosemanticity")

    def test_tells_the_stages_components_and_versions(self, write: Write) -> None:
        run_section = write().one("section", id="run")
        [stage] = run_section.one("table", id="stages").one("tbody").all("tr")
        assert [cell.text for cell in stage.all("td")] == ["1 min 15 s", "images 6", DASH]
        for part in ("gemini", "dinov2", "cpu", "saeviz 0.1.0"):
            assert part in run_section.text

    def test_lists_the_failures(self, write: Write) -> None:
        [row] = write().one("table", id="left-out").one("tbody").all("tr")
        assert row.text == "extractbroken.jpgcannot be read"

    def test_very_many_failures_are_cut_short_with_a_word_on_where_the_rest_is(
        self, run: FakeRun, write: Write
    ) -> None:
        run.failures = [saeviz.Failure("extract", str(number), "gone") for number in range(1234)]
        section = write().one("section", id="failures")
        listed = len(section.one("tbody").all("tr"))
        assert 0 < listed < 1234
        assert f"{1234 - listed} more are listed in failures.jsonl" in section.text

    def test_the_title_is_the_run_directory_unless_one_is_given(self, write: Write) -> None:
        assert write().one("h1").text == "my-run"
        assert write(title="Barns & moods").one("h1").text == "Barns & moods"


def half_dark() -> Image.Image:
    """Dark grey on the left, light grey on the right."""
    image = Image.new("RGB", (60, 20), (40, 40, 40))
    image.paste((220, 220, 220), (30, 0, 60, 20))
    return image


class TestThumbnails:
    def test_every_picture_is_there_in_its_order_and_with_its_activation(self, run: FakeRun, write: Write) -> None:
        page = write()
        shown = {feature: ids_shown(entry) for feature, entry in entries(page).items()}
        assert list(shown.values()) == [["item/0", "item/1"], ["item/1", "item/2", "item/3"], []]
        alts = [image["alt"] for image in entries(page)["layer8.cls/7"].all("img")]
        assert alts == ["item/0, activation 5.50", "item/1, activation 4.25"]
        for image in page.all("img"):
            with Image.open(run.dir / "report" / image.attributes["src"]) as file:
                file.load()
                assert (str(file.width), str(file.height)) == (image["width"], image["height"])

    def test_a_picture_that_several_features_share_is_one_file(self, run: FakeRun, write: Write) -> None:
        page = write()
        assert len(page.all("img")) == 5
        assert thumbnails(run) == {Path(image.attributes["src"]).name for image in page.all("img")}
        assert len(thumbnails(run)) == 4

    def test_a_file_name_tells_nothing_of_the_item(self, run: FakeRun, write: Write) -> None:
        run.items[0] = replace(run.items[0], item_id="../../secret name")
        run.top[CLS.feature(7)] = [saeviz.TopImage(run.items[0], 1.0)]
        write()
        assert all(re.fullmatch(r"[0-9a-f]{24}\.webp", name) for name in thumbnails(run))

    def test_no_more_images_than_asked_for(self, write: Write) -> None:
        shown = [ids_shown(entry) for entry in entries(write(top_images=2)).values()]
        assert shown == [["item/0", "item/1"], ["item/1", "item/2"], []]

    @pytest.mark.parametrize(
        ("size", "expected"),
        [((320, 256), (80, 64)), ((1000, 100), (128, 13)), ((40, 30), (40, 30)), ((1, 1), (1, 1))],
    )
    def test_is_as_high_as_asked_for_at_most_twice_as_wide_and_never_enlarged(
        self, run: FakeRun, write: Write, size: tuple[int, int], expected: tuple[int, int]
    ) -> None:
        item = saeviz.ImageItem("odd", picture(1, size))
        show_only(run, item)
        write(thumbnail_size=64)
        [name] = thumbnails(run)
        assert Image.open(run.dir / "report" / "images" / name).size == expected

    @pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "CMYK", "1"])
    def test_every_kind_of_picture_is_shown_with_its_colours(self, run: FakeRun, write: Write, mode: str) -> None:
        shown = self.shown(run, write, lambda: half_dark().convert(mode))
        assert abs(shown[5, 5] - 40) < 45
        assert abs(shown[5, 50] - 220) < 45

    @pytest.mark.parametrize(
        ("dtype", "largest"),
        [("uint16", 65535), ("int32", 65535), ("int32", 255), ("float32", 1.0), ("float32", 255.0)],
    )
    def test_deep_pictures_are_neither_white_nor_black(
        self, run: FakeRun, write: Write, dtype: str, largest: float
    ) -> None:
        ramp = np.tile(np.linspace(0, largest, 64), (20, 1)).astype(dtype)
        shown = self.shown(run, write, lambda: Image.fromarray(ramp))
        assert np.abs(shown[10] - np.linspace(0, 255, 64)).max() < 12

    def shown(self, run: FakeRun, write: Write, draw: Callable[[], Image.Image]) -> np.ndarray:
        """The grey levels of its thumbnail."""
        show_only(run, saeviz.ImageItem("odd", draw))
        write()
        [name] = thumbnails(run)
        with Image.open(run.dir / "report" / "images" / name) as file:
            return np.asarray(file.convert("L"), int)

    def test_what_is_transparent_is_white(self, run: FakeRun, write: Write) -> None:
        item = saeviz.ImageItem("clear", lambda: Image.new("RGBA", (30, 20), (0, 0, 0, 0)))
        show_only(run, item)
        write()
        [name] = thumbnails(run)
        assert min(Image.open(run.dir / "report" / "images" / name).getpixel((5, 5))) > 250

    def test_thumbnails_that_no_feature_shows_any_more_vanish(self, run: FakeRun, write: Write) -> None:
        write()
        before = thumbnails(run)
        run.top[PATCH.feature(7)] = run.top[PATCH.feature(7)][:1]
        write()
        assert thumbnails(run) < before
        assert len(thumbnails(run)) == 2

    def test_only_what_changed_is_made_again(self, run: FakeRun, write: Write) -> None:
        write()
        folder = run.dir / "report" / "images"
        before = {name: (folder / name).stat().st_mtime_ns for name in thumbnails(run)}
        source = run.items[0].source
        assert isinstance(source, Path)
        source.write_bytes(picture(99, (200, 200)))
        write()
        after = {name: (folder / name).stat().st_mtime_ns for name in thumbnails(run)}
        assert len(after) == len(before) == 4
        assert len(after.items() & before.items()) == 3

    def test_a_damaged_thumbnail_is_made_again(self, run: FakeRun, write: Write) -> None:
        write()
        for name in thumbnails(run):
            (run.dir / "report" / "images" / name).write_bytes(b"torn")
        for image in write().all("img"):
            Image.open(run.dir / "report" / image.attributes["src"]).load()

    def test_an_image_that_vanished_leaves_a_placeholder_and_is_reported(self, run: FakeRun, write: Write) -> None:
        write()
        source = run.items[1].source
        assert isinstance(source, Path)
        source.unlink()
        reported: list[str] = []
        page = write(saeviz.Context(failed=lambda subject, _error: reported.append(subject)))
        assert [ids_shown(entry) for entry in entries(page).values()] == [["item/0"], ["item/2", "item/3"], []]
        assert [gone.text for gone in page.all("span", class_="gone")] == ["image cannot be read any more: item/1"] * 2
        assert reported == ["item/1"]
        assert "item/1" in page.one("table", id="left-out").text
        assert len(thumbnails(run)) == 3

    def test_an_image_that_came_back_is_not_a_failure_any_more(self, run: FakeRun, write: Write) -> None:
        run.failures.append(saeviz.Failure("report", "item/1", "gone"))
        assert "item/1" not in write().one("section", id="failures").text


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


@pytest.mark.parametrize("character", ["\u202e", "\u200f", "\u2066", "\x00", "\x1b", "\u2028"])
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


def _no_selection(run: FakeRun) -> None:
    run.selected, run.labels, run.top = [], {}, {}


def _no_labeler(run: FakeRun) -> None:
    run.labels = {}
    run.manifest["config"]["labeler"] = {"use": "none"}


def _no_names(run: FakeRun) -> None:
    run.labels = {CLS.feature(7): saeviz.FeatureLabel("")}


def _no_ratings(run: FakeRun) -> None:
    run.ratings, run.correlations = [], pd.DataFrame()
    run.items = [replace(item, ratings={}) for item in run.items]


def _no_correlations(run: FakeRun) -> None:
    run.correlations = pd.DataFrame({"layer": [], "tokens": [], "feature": [], "rating": []})


def _no_embeddings(run: FakeRun) -> None:
    run.scores = run.scores.drop(columns=["monosemanticity", "ms_class"])
    del run.manifest["config"]["embeddings"]


def _no_monosemanticity(run: FakeRun) -> None:
    run.scores = run.scores.drop(columns=["monosemanticity", "ms_class"])


def _no_images(run: FakeRun) -> None:
    _no_selection(run)
    run.items, run.scores, run.correlations = [], pd.DataFrame(), pd.DataFrame()


class TestWhatIsMissing:
    @pytest.mark.parametrize(
        ("remove", "said"),
        [
            (_no_selection, "No feature was selected"),
            (_no_labeler, "no [labeler] table"),
            (_no_names, "gemini found a name for none"),
            (_no_ratings, "carry no ratings"),
            (_no_correlations, "No scorer correlated"),
            (_no_embeddings, "no [embeddings] table"),
            (_no_monosemanticity, "no scorer of the run gives it"),
            (_no_images, "No image has features"),
        ],
    )
    def test_is_said_with_the_reason(
        self, run: FakeRun, write: Write, remove: Callable[[FakeRun], None], said: str
    ) -> None:
        page_before = write()
        assert said not in page_before.text
        remove(run)
        page = write()
        assert said in page.one("section", id="summary").text
        assert list(entries(page)) == [str(selected.feature) for selected in run.selected]

    def test_has_no_column(self, run: FakeRun, write: Write) -> None:
        _no_embeddings(run)
        _no_ratings(run)
        headers = [header.text for header in write().all("th", role="columnheader")]
        assert headers == ["#", "Feature", "Tier", "Active on", "coverage"]

    def test_a_manifest_that_says_nothing_is_enough(self, run: FakeRun, write: Write) -> None:
        run.manifest = {"config": None, "stages": {"extract": None}}
        assert len(entries(write())) == 3

    def test_a_selected_feature_without_scores_is_still_listed(self, run: FakeRun, write: Write) -> None:
        run.scores = run.scores[run.scores["feature"] != 42]
        assert column(write(), "Active on")["layer8.patch-max/42"].text.endswith(DASH)


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


def test_the_plugin_offers_the_reporter_html() -> None:
    [spec] = saeviz_reporters()
    assert (spec.name, spec.role, spec.options) == ("html", "reporter", HtmlOptions)
    assert isinstance(HtmlReport(HtmlOptions(), saeviz.Context()), saeviz.Reporter)


RELIABILITY = {
    "model": "one-way",
    "n_images": 6,
    "n_raters": 31,
    "ratings_per_image": 4.5,
    "of_one": 0.2,
    "of_mean": 0.64,
    "split_half": None,
    "reliability": 0.64,
    "ceiling_r": 0.8,
}


def prediction(method: str, source: str, space: str, r2: float | None, **more: Any) -> dict[str, Any]:
    known = {"method": method, "source": source, "space": space, "n_images": 6, "n_inputs": 9}
    return {**known, "r2": r2, "r2_sd": 0.05, "r": 0.3, **more}


class TestRatingsAsAWhole:
    @pytest.fixture
    def run(self, run: FakeRun) -> FakeRun:
        run.facts["reliability"] = {"beauty": RELIABILITY}
        run.facts["prediction"] = {
            "beauty": [
                prediction("ridge", "features", "layer8.cls", 0.31),
                prediction("lasso", "features", "layer8.cls", 0.21, n_kept=3),
                prediction("ridge", "activations", "layer8.cls", 0.41),
                prediction("ridge", "embeddings", "", 0.51),
                prediction("ridge", "features", "all", None, r2_sd=None),
            ],
            "calm": [prediction("ridge", "features", "layer8.cls", -0.02, r2_sd=None)],
        }
        return run

    def test_reliability_and_its_ceiling(self, write):
        [row] = write().one("table", id="reliability").one("tbody").all("tr")
        assert [cell.text for cell in row.children if isinstance(cell, Element)] == [
            *("beauty", "6", "31", "4.5", "0.20", "0.640", DASH, "0.640", "0.800", "one-way")
        ]

    def test_what_features_explain_beside_everything_else(self, write):
        rows = write().one("table", id="prediction").one("tbody").all("tr")
        texts = [[cell.text for cell in row.children if isinstance(cell, Element)] for row in rows]
        assert texts == [
            ["beauty", "6", "layer8.cls", "0.31 ± 0.05", "0.21 ± 0.05", "3", "0.41 ± 0.05", "0.51 ± 0.05", "0.64"],
            ["all together", DASH, DASH, DASH, DASH],
            ["calm", "6", "layer8.cls", f"{MINUS}0.02", DASH, DASH, DASH, DASH, DASH],
        ]

    def test_the_features_that_lasso_keeps_strongest_first_with_their_names(self, run, write):
        weights = {(7, "cls", "beauty"): -0.3, (7, "patch-max", "beauty"): 0.1, (42, "patch-max", "beauty"): 0.2}
        keys = zip(run.correlations["feature"], run.correlations["tokens"], run.correlations["rating"], strict=True)
        run.correlations["lasso_weight"] = [weights.get(key, 0.0 if key[0] == 7 else np.nan) for key in keys]
        kept = write().one("dl", id="kept")
        assert [(term.text, found.text) for term, found in zip(kept.all("dt"), kept.all("dd"), strict=True)] == [
            ("beauty, layer8.cls, 1 kept", f"{MINUS}0.30 red barn (7)"),
            ("beauty, layer8.patch-max, 2 kept", "+0.20 42; +0.10 7"),
        ]

    def test_these_facts_are_not_listed_a_second_time(self, write):
        names = [term.text for term in write().one("dl", id="facts").all("dt")]
        assert names == ["monosemanticity cutoffs", "family size"]

    @pytest.mark.parametrize("foreign", [0.7, {"beauty": 0.7}, {"beauty": [{"r2": 1}]}, {"beauty": {"model": "mine"}}])
    def test_facts_of_the_same_name_by_someone_else_are_listed_as_any_other(self, run, write, foreign):
        run.facts = {"reliability": foreign, "prediction": foreign}
        page = write()
        assert [term.text for term in page.one("dl", id="facts").all("dt")] == ["reliability", "prediction"]
        assert not page.all("section", id="explained")

    def test_a_hostile_name_of_a_rating_stays_text(self, run, write):
        name = "<script>alert(1)</script>"
        run.facts["reliability"] = {name: RELIABILITY}
        run.facts["prediction"] = {name: run.facts["prediction"]["calm"]}
        page = write()
        for table in ("reliability", "prediction"):
            assert "<script>alert" in page.one("table", id=table).one("tbody").text
        assert len(page.all("script")) == 1
