"""A report that is being written when its process is killed: the earlier page stays whole, and the next one is."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys

import pytest

import saeviz
from tests.conftest import FAKE_RUN, FAKES
from tests.report_data import Report

KILLED = f"""
import os, pathlib, signal, sys
import saeviz
from saeviz_report import HtmlOptions
from saeviz_report.explorer.reporter import HtmlReport

run = saeviz.open_run(sys.argv[1], plugins=[{FAKES!r}])
replace, left = pathlib.Path.replace, [int(sys.argv[2])]

def killed(path, to):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, to)

pathlib.Path.replace = killed
HtmlReport(HtmlOptions(title="the new one", thumbnail_size=40), saeviz.Context()).write(run)
print("written")
"""


@pytest.fixture(scope="module")
def run(clean_environment, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "fake.toml"
    path.write_text(FAKE_RUN)
    return saeviz.run(path)


def all_of(folder, page):
    """The page and everything that it can show, by name."""
    content = re.search(r"content-\w+", page)[0]
    pictures = [one[0] for one in Report(folder).content("items")["thumbnails"] if one]
    files = [path for path in (folder / content).rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in (*files, *(folder / "pictures" / name for name in pictures))}


@pytest.mark.slow
@pytest.mark.parametrize("at", ["pictures", "data", "page"])
def test_an_earlier_page_stays_whole_when_the_writer_is_killed(run, tmp_path, at):
    copy = tmp_path / "run"
    shutil.copytree(run.dir, copy, ignore=shutil.ignore_patterns("report"))
    opened = saeviz.open_run(copy, plugins=[FAKES])
    folder = saeviz.component("reporter", "html").write(opened).parent
    page = (folder / "index.html").read_text()
    before = all_of(folder, page)
    n_pictures = len(opened.items)
    n_files = sum(path.suffix in {".js", ".css"} for path in before)
    nth = {"pictures": n_pictures // 2, "data": n_pictures + n_files // 2, "page": n_pictures + n_files + 1}[at]
    code = [sys.executable, "-c", KILLED, str(copy), str(nth)]
    ended = subprocess.run(code, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert (folder / "index.html").read_text() == page
    assert all_of(folder, page) == before
    again = saeviz.component("reporter", "html").write(opened).parent
    assert all_of(again, (again / "index.html").read_text()) == before
    assert len(list(again.glob("content-*"))) == 1
    left = [path.name for path in again.rglob("*") if path.name.endswith((".tmp", ".part"))]
    assert left == []
