"""A page read back with a parser, and the run that it tells of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

import saeviz
from saeviz.formats.judgements import JudgedImage, Judgement, table_of
from saeviz.formats.label_scores import ratings_table

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
    label_ratings: pd.DataFrame = field(default_factory=lambda: ratings_table([]))
    notes: dict[saeviz.Feature, saeviz.Note] = field(default_factory=dict)

    @property
    def ratings_table(self) -> pd.DataFrame:
        rows = {item.item_id: dict(item.ratings) for item in self.items}
        return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=self.ratings).astype(float)

    def top_images(self, feature: saeviz.Feature, k: int | None = None) -> list[saeviz.TopImage]:
        return self.top[feature][:k]

    def name(self, feature: saeviz.Feature) -> str:
        return self.labels[feature].label if feature in self.labels else ""

    def companions(self, feature: saeviz.Feature) -> list[saeviz.Feature]:
        return self.together.get(feature, [])


def score(feature: saeviz.Feature, **values: Any) -> dict[str, Any]:
    return {"sae": feature.sae, "layer": feature.layer, "tokens": feature.tokens, "feature": feature.index, **values}


def picture(number: int, size: tuple[int, int] = (320, 256)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, (number * 40 % 256, 90, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


Write = Callable[..., Element]


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
