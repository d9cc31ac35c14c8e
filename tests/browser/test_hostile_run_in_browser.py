"""A run from a stranger in a real browser: whatever its names are, they are text."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import saeviz
from saeviz_report import HtmlOptions
from saeviz_report.explorer.reporter import HtmlReport
from tests.browser.tab import SETTLED, Tab
from tests.conftest import FAKES
from tests.service import Served

SCRIPT = "</script><script>window.broken=1</script><img src=x onerror=window.broken=1>"
NAMES = (
    SCRIPT, "\x1b[31mred\x1b]8;;http://x\x07", "\u202egpj.exe\u2066", "__proto__", "constructor", "=HYPERLINK(1)",
    "@SUM(1)", "'\"`]}>", "a&b;c%00#?", "long " + "x" * 10_000, "\ufeff\u200b", "]]>--><!--",
)  # fmt: skip
"""Of files only those that a file can have."""


class Hostile(saeviz.Run):
    """The run with the names of a stranger for whatever can have one."""

    @property
    def labels(self) -> Mapping[saeviz.Feature, saeviz.FeatureLabel]:
        names = [NAMES[place % len(NAMES)] for place in range(len(self.selected))]
        return {
            chosen.feature: saeviz.FeatureLabel(name, name, (name,), name, 0.5)
            for chosen, name in zip(self.selected, names, strict=True)
        }

    @property
    def scores(self) -> pd.DataFrame:
        kinds = [NAMES[place % len(NAMES)] for place in range(len(super().scores))]
        return super().scores.assign(ms_class=kinds, **dict.fromkeys(NAMES, 1.0))


WIDER = """document.documentElement.scrollWidth <= innerWidth ? [] : [location.hash.slice(0, 80),
  ...[...document.querySelectorAll('main *, dialog[open] *')]
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
    .slice(0, 4).map(one => one.outerHTML.slice(0, 90))]"""
"""What does not fit into the window, if anything makes the page wider."""


def named(name: str) -> str:
    return name.replace("/", "\u2215").replace("\x00", "")[:60]


@pytest.fixture(scope="module")
def run(clean_environment: None, tmp_path_factory: pytest.TempPathFactory) -> saeviz.Run:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "pictures").mkdir()
    random = np.random.default_rng(0)
    rows = []
    for place in range(24):
        name = f"{named(NAMES[place % len(NAMES)])} {place}.png"
        pixels = random.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / name)
        ratings = {rating: float(random.normal()) for rating in NAMES[:5]}
        rows.append({"file": name, "kind": NAMES[place % len(NAMES)], NAMES[9]: NAMES[place % 3], **ratings})
    pd.DataFrame(rows).to_json(folder / "ratings.json", orient="records")
    finished = saeviz.run(
        {
            "run": {"dir": str(folder / "run")},
            "images": {"use": "folder", "path": str(folder / "pictures"), "ratings": str(folder / "ratings.json")},
            "extractor": {"use": "fake-extractor"},
            "embeddings": {"use": "fake-embeddings"},
            "scorers": [{"use": "monosemanticity", "draws": 0}, {"use": "pearson-bh"}],
            "labeler": {"use": "fake-labeler"},
            "reporters": [],
        },
        plugins=[FAKES],
    )
    finished.__class__ = Hostile
    return finished


@pytest.fixture(scope="module")
def page(run: saeviz.Run) -> Path:
    return HtmlReport(HtmlOptions(title=SCRIPT), saeviz.Context()).write(run)


@pytest.fixture(scope="module")
def alone(run: saeviz.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a copy of the run, which has its report in one form only."""
    copy = shutil.copytree(run.dir, tmp_path_factory.mktemp("alone") / "run")
    return HtmlReport(HtmlOptions(title=SCRIPT, single_file=True), saeviz.Context()).write(saeviz.open_run(copy))


def nothing_ran(tab: Tab) -> None:
    assert tab.run("window.broken") is None
    assert tab.run("({}).broken") is None
    assert tab.run("document.querySelectorAll('main img[src=x], dialog img[src=x], main script').length") == 0
    wider = tab.run(WIDER)
    assert wider == [], "\n".join(wider)


@pytest.fixture(params=["folder", "one file"])
def tab(browser: Any, request: pytest.FixtureRequest) -> Iterator[Tab]:
    opened = Tab(browser, request.getfixturevalue("page" if request.param == "folder" else "alone"))
    yield opened
    nothing_ran(opened)
    assert opened.messages() == []


def test_every_view_of_it_is_text(tab: Tab, run: saeviz.Run) -> None:
    columns = quote("|".join(name.replace("%", "%25").replace("|", "%7C") for name in NAMES[:8]))
    places = [
        "view=overview",
        f"view=features&plot=ms&columns={columns}&sort=-{quote(NAMES[0])}",
        f"view=features&plot={quote(f'volcano:{NAMES[0]}')}",
        "view=images&facet=kind",
        *(f"view=image&image={quote(run.items[place].item_id)}" for place in (0, 1, 3)),
        *(f"view=features&plot=none&feature={one.feature}&hue=kind" for one in run.selected[:2]),
        *(f"view=images&by={quote(f'-ratings:{name}')}" for name in NAMES[:5]),
        f"view=lists&list={quote(SCRIPT)}&list.{quote(SCRIPT)}=layer1.cls:0,1",
    ]
    for place in places:
        tab.go(place)
        nothing_ran(tab)
        shown = tab.run("document.body.innerText")
        assert len(shown) > 20
        assert not set(shown) & set("\x1b\x07\u202e\u2066\ufeff\u200b"), place


def test_what_is_saved_holds_no_formula(tab: Tab) -> None:
    tab.run("saeviz.save = (name, kind, text) => (window.saved = [name, text]), 1")
    tab.go("view=features&plot=none")
    tab.click("CSV", "main button")
    _, text = tab.run("window.saved")
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) > 10
    assert not [cell for row in rows for cell in row if cell[:1] in ("=", "@", "\t", "\r")]


def test_an_address_from_a_stranger_is_no_accident(tab: Tab) -> None:
    for address in (
        "__proto__=1&view=features",
        "view=__proto__",
        "view=features&columns=__proto__|constructor|toString",
        "view=features&sort=__proto__",
        "view=features&f.__proto__=a&r.constructor=0..1&f.toString=1",
        "view=features&plot=volcano:__proto__&tint=constructor",
        "view=lists&list=__proto__&list.__proto__=layer1.cls:0",
        "view=lists&list.a=" + ";".join(f"layer1.cls:{','.join(map(str, range(20_000)))}" for _ in range(3)),
        "view=lists&list.b=layer1.cls:1e9,-1,0x10,1.5,NaN",
        "view=features&q=" + "a+" * 5_000,
        "view=features&q=(((((.*)*)*)*)",
        "view=image&image=" + "x" * 10_000,
        "view=images&by=" + quote("]'\"><img src=x onerror=window.broken=1>"),
        "view=features&feature=" + quote('layer1.cls/0"]<img src=x onerror=window.broken=1>'),
        "view=features&space=%E0%A4%A",
        "view=features&r.max=-1e999..1e999",
        "&&&===&view=features&view=images",
    ):
        tab.go(address)
        assert tab.run("document.getElementById('main').innerText.length") > 10
        nothing_ran(tab)


@pytest.mark.slow
def test_it_is_text_where_it_is_served_too(browser: Any, run: saeviz.Run) -> None:
    served = Served(run.dir, "--plugins", FAKES, token=None)
    try:
        for place in ("", f"#view=image&image={quote(run.items[0].item_id)}", "#view=images"):
            browser.open_url(served.url + place)
            browser.run(SETTLED)
            assert browser.run("window.broken") is None
            assert browser.run("document.body.innerText.length") > 20
        assert [text for text in browser.messages if "WebGL" not in text] == []
    finally:
        served.stop()
