"""What an option is besides its type: a path, or something that no outcome depends on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

import saeviz
from saeviz.contract.options import neutral_fields, path_fields


class Marked(saeviz.Options):
    """The marks in every way in which they may be written."""

    both: Path | None = Field(None, **saeviz.PATH, **saeviz.NEUTRAL)
    path: Path | None = Field(None, **saeviz.PATH)
    text: str = Field("", **saeviz.PATH)
    neutral: int = Field(1, **saeviz.NEUTRAL)
    annotated: Annotated[Path | None, saeviz.PATH, saeviz.NEUTRAL] = None
    described: Annotated[Path | None, saeviz.PATH, saeviz.NEUTRAL] = Field(None, description="a folder")
    inside: Annotated[Path, saeviz.PATH] | None = None
    by_hand: int = Field(1, json_schema_extra={"neutral": True})
    none: int = 1


def test_marks_may_be_combined():
    assert path_fields(Marked) == {
        "both": True,
        "path": True,
        "text": False,
        "annotated": True,
        "described": True,
        "inside": True,
    }
    assert neutral_fields(Marked) == ["both", "neutral", "annotated", "described", "by_hand"]
    assert Marked.model_json_schema()["properties"]["both"]["path"] is True


IN_HOUSE = """
from pathlib import Path
from pydantic import Field, model_validator
import saeviz

class Options(saeviz.Options):
    log: Path = Field("log", description="a log", **saeviz.PATH, **saeviz.NEUTRAL)
    words: list[str] = Field(default_factory=lambda: ["a"], description="words")
    value: int = 0

    @model_validator(mode="after")
    def check(self):
        return self if self.value == 0 else 1 / 0

class Mine:
    def __init__(self, options, context): ...
    def score(self, data):
        return ()

def notes():
    NOTES

@saeviz.hookimpl
def saeviz_scorers():
    yield saeviz.ScorerSpec(name="mine", summary="x\\x1b[31m", factory=Mine, options=Options, notes=notes)
    yield saeviz.ScorerSpec(name="gone", summary="x", factory="json:nothing_of_this_name")
"""


@pytest.fixture
def in_house(tmp_path):
    def write(notes: str) -> str:
        (tmp_path / "mine.py").write_text(IN_HOUSE.replace("NOTES", notes))
        return "module:saeviz.testing.fakes,./mine.py"

    return write


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        ("1 / 0", "fail with ZeroDivisionError"),
        ("raise SystemExit(7)", "fail with SystemExit: 7"),
        ("yield 'a'; raise ExceptionGroup('x', [KeyError('y')])", "fail with ExceptionGroup"),
        ("return 5", "fail with TypeError"),
        ("import nothing_of_this_name", "fail with ModuleNotFoundError"),
    ],
)
def test_notes_that_raise_are_a_sentence(saeviz_command, in_house, notes, said):
    ended = saeviz_command("plugins", "scorer:mine", "--plugins", in_house(notes))

    assert ended.code == 3
    assert "the notes of the scorer 'mine' of plugin mine" in ended.err
    assert said in ended.err


def test_notes_without_end_and_with_escapes_are_shown_in_part(saeviz_command, in_house):
    ended = saeviz_command("plugins", "scorer:mine", "--plugins", in_house(r"while True: yield 'n\x1b[2J\u202e'"))

    assert ended.code == 0
    assert ended.out.count(r"n\x1b[2J\u202e") == 1000
    assert not {"\x1b", "\u202e"} & set(ended.out)


@pytest.mark.slow
def test_defaults_are_shown_as_they_are_written(saeviz_command, in_house):
    words = in_house("return []")

    assert 'words: words (default ["a"])' in saeviz_command("plugins", "scorer:mine", "--plugins", words).out
    for offered in saeviz_command("plugins", "--json").json()["components"]:
        shown = saeviz_command("plugins", f"{offered['role']}:{offered['name']}").out
        assert "PydanticUndefined" not in shown


def test_a_check_of_options_that_fails_blames_the_plugin(saeviz_command, fake_run, in_house):
    given = ["--plugins", in_house("return []"), "--set", "scorers=[{use='mine', value=1}]"]
    ended = saeviz_command("check", fake_run, *given)

    assert ended.code == 3
    assert re.search(r"scorers\.0: mine of plugin .*: the check of its options fails with ZeroDivisionError", ended.err)


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_module_that_fails_is_known_before_the_run(saeviz_command, fake_run, tmp_path, in_house, command):
    given = ["--plugins", in_house("return []"), "--set", "scorers=[{use='pearson-bh'}, {use='gone'}]"]
    ended = saeviz_command(command, fake_run, *given)

    assert ended.code == 3
    assert "scorers.1: the scorer 'gone' of plugin mine" in ended.err
    assert "json:nothing_of_this_name fails with AttributeError" in ended.err
    assert not (tmp_path / "runs").exists()
