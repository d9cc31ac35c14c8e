"""`saeviz new`: what is written for each role, and that it works when it is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import saeviz
from saeviz.cli.new import LICENSES
from saeviz.contract.specs import ROLES
from saeviz.testing import random_sae
from saeviz.testing.data import pictures, score_input
from tests.conftest import FAKES, run_process
from tests.wheels import built

STYLE = """
line-length = 120
target-version = "py311"
src = ["saeviz-*"]
[lint]
select = ["E", "F", "W", "I", "UP", "B", "BLE", "C4", "D", "N", "PIE", "PT", "PTH", "RET", "RUF", "SIM", "TC", "ARG"]
ignore = ["D107", "D203", "D213", "D401", "N803", "TC001", "TC002", "TC003", "RUF012"]
"""
TYPES = """
[mypy]
strict = true
follow_imports = skip
ignore_missing_imports = true
disallow_untyped_decorators = false
[mypy-saeviz.*,pydantic.*,pydantic_core.*,annotated_types.*,numpy.*]
follow_imports = silent
[mypy-matplotlib.*]
follow_imports = skip
follow_imports_for_stubs = true
"""
"""Other packages are not followed: that takes a minute, and tells no more of what is written."""
RUN = """
[run]
dir = "run"
[images]
use = "try-images"
path = "images.jsonl"
[extractor]
use = "try-extractor"
saes.0 = "sae.pt"
[store]
use = "try-store"
[embeddings]
use = "try-embeddings"
[[scorers]]
use = "pearson-bh"
[[scorers]]
use = "monosemanticity"
draws = 0
[[scorers]]
use = "try-scorer"
min_active = 2
[selector]
use = "try-selector"
column = "try_scorer"
[labeler]
use = "try-labeler"
[[reporters]]
use = "try-reporter"
[executor]
use = "try-executor"
shard_items = 8
"""


def checked(*command, cwd, **environment):
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def written(saeviz_command, tmp_path):
    """A package for every role."""
    for role in ROLES:
        assert saeviz_command("new", role, f"try-{role}").code == saeviz.ExitCode.DONE
    (tmp_path / "ruff.toml").write_text(STYLE)
    return tmp_path


def test_each_package_has_these_files_in_good_style(written):
    for role in ROLES:
        root = written / f"saeviz-try-{role}"
        assert {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} == {
            ".github/workflows/test.yml",
            ".gitignore",
            "LICENSE",
            "README.md",
            "pyproject.toml",
            f"saeviz_try_{role}/__init__.py",
            f"saeviz_try_{role}/py.typed",
            f"tests/test_try_{role}.py",
        }
        texts = [path.read_text(encoding="utf-8") for path in root.rglob("*") if path.is_file()]
        assert not [text for text in texts if "my_name" in text or "my-name" in text or "THE_" in text]
    checked(sys.executable, "-m", "ruff", "check", "-q", ".", cwd=written)
    checked(sys.executable, "-m", "ruff", "format", "-q", "--check", ".", cwd=written)


@pytest.mark.slow
def test_all_nine_are_strictly_typed_for_mypy_without_its_plugin_for_pydantic(written):
    (written / "mypy.ini").write_text(TYPES)
    code = [path.relative_to(written).as_posix() for path in written.glob("saeviz-*/*/*.py")]
    assert len(code) == 2 * len(ROLES)
    checked(sys.executable, "-m", "mypy", "--cache-dir", os.devnull, *code, cwd=written)


@pytest.mark.slow
def test_all_nine_are_installed_pass_their_tests_and_make_a_run(written):
    packages = [written / f"saeviz-try-{role}" for role in ROLES]
    wheels = built(packages[1:], written / "wheels")
    pip = [
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--disable-pip-version-check",
    ]
    checked(sys.executable, "-m", *pip, "--target", "site", packages[0], *wheels, cwd=written)
    site = {"PYTHONPATH": str(written / "site")}
    # The suite of stores kills writers in many ways, which costs most and is done for every bundled store.
    tests = [f"{package}/tests" for package in packages]
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "--rootdir=.", "-k", "not killed"]
    checked(sys.executable, "-m", "pytest", *options, *tests, cwd=written, **site)

    lines = []
    for number, item in enumerate(pictures(24)):
        item.open().save(written / f"{number}.png")
        lines.append(json.dumps({"file": f"{number}.png", "ratings": dict(item.ratings)}))
    (written / "images.jsonl").write_text("\n".join(lines))
    random_sae(written / "sae.pt", width=16)
    (written / "all.toml").write_text(RUN)
    ended = run_process("run", "all.toml", cwd=written, **site)
    assert ended.code == saeviz.ExitCode.DONE, ended
    [page] = (written / "run").rglob("features.md")
    assert "pictures |" in page.read_text(encoding="utf-8")


def test_a_single_file_is_a_plugin_at_once(saeviz_command, tmp_path):
    made = saeviz_command("new", "scorer", "peak-share", "--file")
    assert made.out.split() == ["saeviz_peak_share.py"]
    tried = """saeviz demo --out runs/peak-share --limit 60 --set 'scorers=[{use="peak-share"}]'"""
    assert f"  {tried} --plugins ./saeviz_peak_share.py\n" in made.err
    assert "[plugins] with use = ['./saeviz_peak_share.py'], and [[scorers]] with use = 'peak-share'" in made.err
    [column] = saeviz.component("scorer", "peak-share", plugins=["./saeviz_peak_share.py"]).score(score_input())
    assert column.name == "peak_share"


def test_the_reporter_writes_what_a_run_has_found(saeviz_command, finished_run, monkeypatch):
    monkeypatch.chdir(finished_run.parent)
    saeviz_command("new", "reporter", "lines", "--file")
    run = saeviz.run(finished_run, settings=['reporters=[{use="lines"}]'], plugins=["./saeviz_lines.py", FAKES])
    rows = (run.dir / "reporter" / "features.md").read_text(encoding="utf-8").splitlines()[4:]
    assert len(rows) == len(run.selected)
    _, first, name, relations, images, _ = (cell.strip() for cell in rows[0].split("|"))
    assert (first, name) == (str(run.selected[0].feature), run.labels[run.selected[0].feature].label)
    r = {row["rating"]: row["r"] for row in run.correlations_of(first)}
    assert relations.replace("&#43;", "+") == ", ".join(f"{rating} {value:+.2f}" for rating, value in r.items())
    assert images == ", ".join(item_id for item_id, _ in run.top_item_ids(first, 3))


@pytest.mark.parametrize("terms", LICENSES)
def test_the_license_is_a_choice(saeviz_command, tmp_path, terms):
    saeviz_command("new", "scorer", "mine", "--license", terms)
    project = (tmp_path / "saeviz-mine" / "pyproject.toml").read_text()
    assert (tmp_path / "saeviz-mine" / "LICENSE").exists() == (terms != "none")
    assert (f'license = "{terms}"' if terms != "none" else "Private :: Do Not Upload") in project


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../mine", "is a path; give a name"),
        ("mine.py", "is a path; give a name"),
        (
            "PeakShare_2",
            "use lower-case letters, digits and single hyphens, beginning with a letter, such as 'peak-share",
        ),
        ("42", "beginning with a letter, such as 'my-store'"),
        ("saeviz-mine", "leave out 'saeviz'"),
        ("class", "is a keyword of Python; choose another name, such as 'class-store'"),
        ("npz", "is taken by the store of plugin npz"),
        ("correlation", "is taken by an installed plugin, plugin correlation"),
    ],
)
def test_a_name_that_cannot_be_is_refused(saeviz_command, tmp_path, name, words):
    ended = saeviz_command("new", "store", name)
    assert ended.code == saeviz.ExitCode.USAGE
    assert words in ended.err
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(saeviz_command, tmp_path):
    (tmp_path / "saeviz-mine").mkdir()
    ended = saeviz_command("new", "store", "mine")
    assert ended.code == saeviz.ExitCode.USAGE
    assert "saeviz-mine already exists, and nothing is overwritten" in ended.err
    assert not list((tmp_path / "saeviz-mine").iterdir())
