"""Every example on every page is run: Python and commands, in a folder that has what the pages speak of.

An example that cannot be run says why in a comment that no reader sees, `<!-- not run: ... -->`, in the line above it.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

import saeviz
from tests.conftest import FAKES, ROOT
from tests.core.test_docs import PAGES as ALL_PAGES

PAGES = [path for path in ALL_PAGES if not path.is_relative_to(ROOT / "examples" / "plugins")]
"""Those of packages are left to `test_example_plugins.py`, which installs them."""

BLOCK = re.compile(r"^(?:<!-- (not run): (.+) -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {"python", "sh", "bash", "toml", "json"}
"""Of blocks that are examples; others are plain text. Those of TOML are resolved by `test_docs.py`."""
RUN_FILE = """
[run]
dir = "runs/art"
[images]
use = "table"
path = "ratings.csv"
folder = "images"
item_column = "id"
[extractor]
use = "fake-extractor"
layers = [3, 4, 11]
n_features = 4712
[embeddings]
use = "fake-embeddings"
[[scorers]]
use = "pearson-bh"
min_active = 3
[[scorers]]
use = "monosemanticity"
draws = 0
[selector]
use = "tiered"
limit = 5
min_active = 3
[labeler]
use = "fake-labeler"
[[reporters]]
use = "fake-reporter"
"""
"""`art.toml` of the pages, with components that need no model."""
NAMES = ["sunset.jpg", "alley.jpg", "gallery/0003", "gallery/0103"]
RUNS = ("demo", "paintings", "photos", "voxels")
"""Other runs that pages speak of: copies."""


@pytest.fixture(scope="module")
def world(tmp_path_factory, clean_environment):
    """A folder with images, ratings and finished runs, by the names that the pages use."""
    folder = tmp_path_factory.mktemp("world")
    from saeviz.testing.data import pictures

    (folder / "images").mkdir()
    lines = ["file,id,drawn_to,wholeness,artist"]
    for number, item in enumerate(pictures(24)):
        name = NAMES[number] if number < len(NAMES) else f"{number}.jpg"
        file = f"{name.removesuffix('.jpg').replace('/', '-')}.jpg"
        item.open().convert("RGB").save(folder / "images" / file)
        lines.append(f"{file},{name},{item.ratings['warmth']},{number % 7},{'Ada' if number % 2 else 'Ben'}")
    (folder / "ratings.csv").write_text("\n".join(lines), encoding="utf-8")
    (folder / "art.toml").write_text(RUN_FILE, encoding="utf-8")
    saeviz.run(folder / "art.toml", plugins=[FAKES])
    for name in RUNS:
        shutil.copytree(folder / "runs" / "art", folder / "runs" / name)
    return folder


def test_every_block_is_in_a_known_language_or_plain_text():
    found = {
        (path.relative_to(ROOT).as_posix(), block[3]) for path in PAGES for block in BLOCK.finditer(path.read_text())
    }
    assert {language for _, language in found} <= LANGUAGES, found


def test_no_command_is_hidden_in_a_block_without_a_language():
    for path in PAGES:
        text = re.sub(r"^```\w.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        assert not re.findall(r"^(?:```\n| {4})(?:saeviz|python) .*", text, re.MULTILINE), path


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_reason_why_an_example_is_not_run_names_tests_that_are_there(path):
    for reason in re.findall(r"<!-- not run: (.+) -->\n(?!```)", path.read_text()):
        raise AssertionError(f"no example follows after: {reason}")
    for name in re.findall(r"<!-- not run: .*?(tests/\S+\.py).* -->", path.read_text()):
        assert (ROOT / name).exists(), name


def examples(path: Path) -> list[tuple[str, str]]:
    """What is run of a page: the language and text of each block, in their order."""
    found = BLOCK.finditer(path.read_text(encoding="utf-8"))
    return [(block[3], block[4]) for block in found if not block[1] and block[3] in {"python", "sh", "bash"}]


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [path for path in PAGES if examples(path)], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_examples_of_a_page_run(path, world, tmp_path, saeviz_command, monkeypatch):
    folder = tmp_path / "page"
    shutil.copytree(world, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SAEVIZ_PLUGINS", FAKES)
    monkeypatch.setenv("HOME", str(folder))
    known: dict[str, object] = {"__name__": "page"}
    for language, text in examples(path):
        if language == "python":
            exec(compile(text, path.name, "exec", dont_inherit=True), known)
            continue
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.match(r"[A-Z_]+=", words[0]):
                monkeypatch.setenv(*words.pop(0).split("=", 1))
            if words:
                assert words[0] == "saeviz", f"{line}: say why it is not run"
                assert words[1] != "serve", f"{line}: it would serve for ever"
                done = saeviz_command(*words[1:])
                assert done.code in {saeviz.ExitCode.DONE, saeviz.ExitCode.PARTIAL}, (line, done)
