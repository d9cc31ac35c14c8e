"""The pages of documentation: links lead somewhere, named files exist, the picture of the floors is the code's."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from docs.floors import PAGE, page
from saeviz.cli import saeviz as saeviz_command
from saeviz.config.layers import Layer
from saeviz.config.resolve import resolve
from saeviz.discovery.manager import Manager
from saeviz.discovery.sources import PluginChoice
from tests.conftest import ROOT

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(path for top in ("docs", "examples", "benchmarks", "plugins") for path in sorted((ROOT / top).rglob("*.md"))),
]
MADE = {"_build", "generated"}
"""Folders that `make docs` makes; pages name what is in them before it is there."""
PAGES = [path for path in PAGES if not MADE & set(path.parts)]
SOURCES = [
    path for top in ("saeviz", "plugins", "benchmarks", "examples", "tests") for path in (ROOT / top).rglob("*.py")
]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^()\s]+)\)")
NAMED = re.compile(
    r"`((?:saeviz|plugins|tests|docs|benchmarks|examples)/[\w./*-]*|(?:[\w*-]+/){2,}|(?:[\w*-]+/)*[\w*-]+\.py)`"
)
"""A file or folder, named from the root, `saeviz/`, `plugins/`, `tests/core/` or the page's own folder."""
PLACES = (ROOT, ROOT / "saeviz", ROOT / "plugins", ROOT / "tests" / "core")
MADE_UP = {
    "plugins/saeviz_NAME",
    "my_scorers.py",
    "saeviz_peaks.py",
    "saeviz_peaks/__init__.py",
}
PAGE_NAMED = re.compile(r"\bdocs/(?:[\w-]+/)*[\w-]+\.md\b")
SCORER_OF_THE_TUTORIAL = next(
    text
    for text in re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "tutorial" / "first-plugin.md").read_text(encoding="utf-8"), re.DOTALL
    )
    if "@saeviz.hookimpl" in text
)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The names that a heading can be linked by, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_and_files_of_a_page_are_there(path):
    text = path.read_text(encoding="utf-8")
    named = {name for name in NAMED.findall(text) if not MADE & set(Path(name).parts)} - MADE_UP
    broken = [
        name
        for name in sorted(named)
        if not any(list(place.glob(name.rstrip("/"))) for place in (*PLACES, path.parent))
    ]
    for target in LINK.findall(FENCE.sub("", text)):
        place, _, anchor = target.partition("#")
        if "://" in place or place.startswith("mailto:") or MADE & set(Path(place).parts):
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


def blocks(language: str) -> list[object]:
    """The blocks of code of all pages in one language, each called by its page and its number there."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [
        pytest.param(found, id=f"{path.relative_to(ROOT).as_posix()}-{number}")
        for path in PAGES
        for number, found in enumerate(fence.findall(path.read_text(encoding="utf-8")), start=1)
    ]


@pytest.mark.parametrize("text", blocks("python"))
def test_python_on_a_page_is_python(text):
    compile(text, "page", "exec")


@pytest.mark.parametrize("text", blocks("toml"))
def test_tables_on_a_page_are_what_a_run_file_may_say(text, tmp_path, monkeypatch):
    settings = tomllib.loads(text)
    if "project" in settings:
        return  # a pyproject.toml
    for variable in re.findall(r'env = "(\w+)"', text):
        monkeypatch.setenv(variable, "given")
    settings.setdefault("images", {"path": "photos"})
    if "judge" in settings:
        settings.setdefault("labeler", {"use": "clip-vocabulary"})
    if settings["images"].get("use", "folder") == "folder":
        settings["images"].setdefault("path", "photos")
    settings.setdefault("run", {}).setdefault("dir", "runs/page")
    (tmp_path / "my_scorers.py").write_text(SCORER_OF_THE_TUTORIAL, encoding="utf-8")
    layer = Layer(settings, tmp_path, "the page")
    words = [str(tmp_path / "my_scorers.py")]
    for path in ROOT.glob("examples/plugins/*/saeviz_*"):
        monkeypatch.syspath_prepend(str(path.parent))
        words.append(f"module:{path.name}")
    resolve([layer], Manager.discover(PluginChoice.parse(words, tmp_path)))


@pytest.mark.parametrize("text", blocks("sh"))
def test_commands_on_a_page_have_the_options_they_are_given(text):
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] != ["saeviz"]:
            continue
        command, rest = saeviz_command, words[1:]
        while isinstance(command, click.Group) and rest and rest[0] in command.commands:
            command, rest = command.commands[rest[0]], rest[1:]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        unknown = {word.partition("=")[0] for word in rest if word.startswith("-")} - known - {"--help", "-h"}
        assert command is not saeviz_command, line
        assert not unknown, line
