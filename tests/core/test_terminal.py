"""What comes from outside reaches terminals, logs and exported files as text, never as commands to them."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from saeviz.formats.plain import OneLineFormatter, csv_cell, json_text, one_line, quoted, safe
from saeviz.formats.tables import write_csv
from tests.conftest import ROOT
from tests.report_data import Report

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eexe.gpj\u2066\u200b\u2028\u2029\u0085\ud800\ufeff\x00"
HOSTILE += "\r\n2026-01-01 ERROR forged"
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def is_tame(text: str) -> bool:
    return not STEERING.search(text)


@pytest.mark.slow
def test_every_character_that_steers_is_escaped():
    letters = [chr(code) for code in range(sys.maxunicode + 1)]
    steering = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    kept = [letter for letter in safe("".join(letters)) if unicodedata.category(letter) in steering]

    assert set(kept) == {"\n", "\t"}
    assert "\n" not in one_line("a\nb\tc")
    assert safe("Grüße, 漢字 e\u0301 🙂") == "Grüße, 漢字 e\u0301 🙂"


def test_a_value_in_a_message_is_short_and_on_one_line():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    for value in (HOSTILE * 1000, deep, 10**5000, {"a": [HOSTILE] * 1000}, b"\x1b" * 10_000, float("nan"), None):
        assert len(quoted(value)) < 100
        assert is_tame(quoted(value))


def test_json_loses_nothing_and_steers_nothing():
    value = {HOSTILE: [HOSTILE, 1.5, None, "é🙂"]}
    for encoding in ("utf-8", "ascii", "cp1252"):
        text = json_text(value, encoding=encoding, indent=2)
        assert is_tame(text)
        assert json.loads(text) == value
        text.encode(encoding)


@pytest.mark.parametrize("formula", ["=cmd|' /C calc'!A0", "+1+cmd", "-2+3", "@SUM(A1)", "\uff1d1", "-", "-1e"])
def test_a_cell_is_no_formula(formula):
    assert csv_cell(formula) == "'" + formula
    assert csv_cell(csv_cell(formula)) == "'" + formula


def test_nor_is_the_head_of_a_column(tmp_path):
    write_csv(tmp_path / "table.csv", pd.DataFrame({"=1+cmd": [1], 2: ["@SUM(A1)"]}))
    assert (tmp_path / "table.csv").read_text() == "'=1+cmd,2\n1,'@SUM(A1)\n"


@pytest.mark.parametrize("text", ["-0.31", "+2", "1e-5", "MS 0.5", "a=b", ""])
def test_a_number_and_plain_text_stay(text):
    assert csv_cell(text) == text


def test_a_log_line_is_one_line_and_a_traceback_is_indented():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLineFormatter("%(levelname)s %(message)s"))
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        record = logging.LogRecord("saeviz", logging.WARNING, "", 0, "%s fails", (HOSTILE,), sys.exc_info())
    handler.emit(record)
    lines = stream.getvalue().splitlines()

    assert is_tame(stream.getvalue())
    assert lines[0].startswith("WARNING ")
    assert all(line.startswith("    ") for line in lines[1:])


IN_HOUSE = """
from dataclasses import replace
import numpy as np
import saeviz
from saeviz.testing.fakes import FakeImages, FakeImagesOptions, FakeLabeler, FakeLabelerOptions

HOSTILE = HOSTILE_TEXT

class Images(FakeImages):
    def iter_images(self, filter_labeled=False, limit=None):
        for item in super().iter_images(filter_labeled, limit):
            ratings = {"=cmd|x" + HOSTILE: item.ratings["warmth"]}
            yield replace(item, item_id=item.item_id + HOSTILE, ratings=ratings)
    def notes(self):
        return ["a note " + HOSTILE]

class Labeler(FakeLabeler):
    def label(self, request):
        if request.feature.index % 2:
            raise saeviz.LabelError("the server says " + HOSTILE)
        return saeviz.FeatureLabel("a name", description="a description" + HOSTILE)

class Selector:
    def __init__(self, options, context): ...
    def select(self, table, limit=None):
        spaces = table.scores[["layer", "tokens"]].drop_duplicates().itertuples(index=False)
        features = [saeviz.Feature(int(s.layer), str(s.tokens), index) for s in spaces for index in range(4)]
        return [saeviz.Selected(feature, 1, "@SUM(1) with " + HOSTILE) for feature in features]

@saeviz.hookimpl
def saeviz_image_providers():
    yield saeviz.ImageProviderSpec(name="hostile", summary="x" + HOSTILE, options=FakeImagesOptions, factory=Images)

@saeviz.hookimpl
def saeviz_labelers():
    yield saeviz.LabelerSpec(name="hostile", summary="x", options=FakeLabelerOptions, factory=Labeler)

@saeviz.hookimpl
def saeviz_selectors():
    yield saeviz.SelectorSpec(name="hostile", summary="x", factory=Selector)
"""


@pytest.fixture
def hostile_run(saeviz_command, fake_run, tmp_path):
    """How a run over hostile ids, ratings, notes, names and refusals ended; it is in `runs/fake`."""
    (tmp_path / "mine.py").write_text(IN_HOUSE.replace("HOSTILE_TEXT", ascii(HOSTILE.replace("\ud800", ""))))
    words = ["--plugins", "module:saeviz.testing.fakes,./mine.py"]
    uses = [f"{table}.use=hostile" for table in ("images", "labeler", "selector")]
    settings = [part for text in [*uses, "images.broken=2", "reporters.0.use=html"] for part in ("--set", text)]
    return saeviz_command("run", fake_run, *words, *settings)


def test_a_run_says_and_logs_text(hostile_run, tmp_path):
    log = (tmp_path / "runs" / "fake" / "log.txt").read_text(encoding="utf-8")

    assert hostile_run.code == 4
    assert is_tame(hostile_run.err + hostile_run.out)
    assert is_tame(log)
    assert "2026-01-01 ERROR forged" in log
    assert not any(line.startswith("2026-01-01 ERROR") for line in (log + hostile_run.err).splitlines())


def test_the_page_shows_text(hostile_run, tmp_path):
    report = tmp_path / "runs" / "fake" / "report"
    files = [path for path in report.rglob("*") if path.suffix in (".html", ".js")]

    assert len(files) > 10
    assert all(is_tame(path.read_text(encoding="utf-8")) for path in files)
    assert "2026-01-01 ERROR forged" in json.dumps(Report(report).content("items"))
    assert all(re.fullmatch(r"[\w.-]+", path.name) for path in report.rglob("*"))


def test_the_selected_features_open_in_a_spreadsheet(hostile_run, tmp_path):
    text = (tmp_path / "runs" / "fake" / "selected.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))

    assert hostile_run.code == 4
    assert is_tame(text)
    assert rows
    assert all(row["reason"].startswith("'@SUM(1)") for row in rows)
    assert len(text.splitlines()) == len(rows) + 1


@pytest.mark.slow
@pytest.mark.parametrize("command", [["show", "layer1.cls/0"], ["plugins", "--plugins", "./mine.py"]])
def test_commands_show_text_and_json_keeps_it(saeviz_command, hostile_run, command):
    assert hostile_run.code == 4
    shown, as_json = saeviz_command(*command), saeviz_command(*command, "--json")

    assert r"\x1b]0;owned\x07" in shown.out
    assert is_tame(shown.out + shown.err)
    assert is_tame(as_json.out)
    assert any(HOSTILE.replace("\ud800", "") in str(text) for text in _texts(as_json.json()))


def _texts(value):
    if isinstance(value, dict):
        for entry in value.values():
            yield from _texts(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _texts(entry)
    else:
        yield value


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_an_output_that_has_no_letter_for_a_name(fake_run, tmp_path, encoding):
    folder = tmp_path / "\u6f22\u5b57 \u00e9"

    def check(*further: str) -> bytes:
        command = [sys.executable, "-m", "saeviz", "check", fake_run, "--out", folder, *further]
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
        assert ended.returncode == 0, ended
        return ended.stdout

    assert any(name in check() for name in (rb"\u6f22\u5b57", "\u6f22\u5b57".encode()))  # click writes UTF-8 for ASCII
    assert json.loads(check("--json").decode("ascii"))["run_dir"] == str(folder)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the shell of POSIX")
@pytest.mark.parametrize(
    ("redirected", "code"), [(">&-", 0), ("| head -c 1", 0), ("2>&-", 0), (">/dev/full", 1), ("2>/dev/full", 0)]
)
def test_an_output_that_takes_nothing(tmp_path, redirected, code):
    if "/dev/full" in redirected and not Path("/dev/full").exists():
        pytest.skip("this system has no full device")
    line = f"{sys.executable} -m saeviz plugins {redirected}"
    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert ended.returncode == code, ended


def test_without_a_current_folder(fake_run, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    line = f"cd {gone} && rmdir {gone} && {sys.executable} -m saeviz check {fake_run}"
    ended = subprocess.run(
        ["bash", "-c", line],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "the current folder no longer exists" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_a_home_directory(saeviz_command, fake_run, tmp_path, monkeypatch):
    import pwd

    def nobody(_uid: int):
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for command in (["check", fake_run], ["run", fake_run], ["cache"]):
        ended = saeviz_command(*command)
        assert ended.code == 2
        assert "no home directory for the shared cache" in ended.err
    assert saeviz_command("check", fake_run, "--set", f"run.cache_dir={tmp_path / 'cache'}").code == 0
