"""The pages of documentation: links lead somewhere, named files exist, the picture of the floors is the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.floors import PAGE, page
from tests.conftest import ROOT

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(path for top in ("docs", "examples", "benchmarks", "plugins") for path in sorted((ROOT / top).rglob("*.md"))),
]
SOURCES = [
    path for top in ("saeviz", "plugins", "benchmarks", "examples", "tests") for path in (ROOT / top).rglob("*.py")
]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^()\s]+)\)")
NAMED = re.compile(
    r"`((?:saeviz|plugins|tests|docs|benchmarks|examples)/[\w./*-]*|(?:[\w*-]+/){2,}|(?:[\w*-]+/)*[\w*-]+\.py)`"
)
"""A file or folder, named from the root, `saeviz/`, `plugins/`, `tests/core/` or the page's own folder."""
PLACES = (ROOT, ROOT / "saeviz", ROOT / "plugins", ROOT / "tests" / "core")
MADE_UP = {"plugins/saeviz_NAME", "my_scorers.py"}
PAGE_NAMED = re.compile(r"\bdocs/[\w-]+\.md\b")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The names that a heading can be linked by, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_and_files_of_a_page_are_there(path):
    text = path.read_text(encoding="utf-8")
    named = set(NAMED.findall(text)) - MADE_UP
    broken = [
        name
        for name in sorted(named)
        if not any(list(place.glob(name.rstrip("/"))) for place in (*PLACES, path.parent))
    ]
    for target in LINK.findall(FENCE.sub("", text)):
        place, _, anchor = target.partition("#")
        if "://" in place or place.startswith("mailto:"):
            continue
        found = path if not place else path.parent / place
        if not found.exists() or (anchor and anchor not in anchors(found.read_text(encoding="utf-8"))):
            broken.append(target)
    assert not broken, f"{path.name} names what is not there: {', '.join(broken)}"


def test_pages_that_the_code_names_are_there():
    named = {(name, path.name) for path in SOURCES for name in PAGE_NAMED.findall(path.read_text(encoding="utf-8"))}
    assert named
    assert not [where for where in sorted(named) if not Path(ROOT, where[0]).exists()]


def test_the_picture_of_the_floors_is_as_the_code_is():
    assert PAGE.read_text(encoding="utf-8") == page(), "make docs writes it again"
