"""Folders, packages of the wheel and entry points name the same plugins."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = {path.name for path in (ROOT / "plugins").iterdir() if path.is_dir() and path.name.startswith("saeviz_")}


def test_every_plugin_folder_is_in_the_wheel():
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert packages == ["saeviz", *sorted(f"plugins/{name}" for name in FOLDERS)]


def test_every_plugin_folder_is_an_entry_point():
    declared = PROJECT["project"]["entry-points"]["saeviz"]
    assert declared == {name.removeprefix("saeviz_"): name for name in FOLDERS}


def test_the_installed_entry_points_are_these():
    installed = {point.name for point in entry_points(group="saeviz") if point.dist and point.dist.name == "saeviz"}
    assert installed == set(PROJECT["project"]["entry-points"]["saeviz"])


def test_everything_that_imports_heavily_is_an_extra():
    base = " ".join(PROJECT["project"]["dependencies"])
    for package in ("torch", "open_clip_torch", "transformers", "timm"):
        assert package not in base
        assert any(line.startswith(package) for line in PROJECT["project"]["optional-dependencies"]["models"])


@pytest.mark.slow
def test_the_wheel_holds_what_is_not_python_too(tmp_path):
    """Templates, word lists and the demo's weights; nothing of the tests."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--disable-pip-version-check", "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = {
        path.relative_to(ROOT / "plugins").as_posix()
        for path in (ROOT / "plugins").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert tracked <= names
    assert {"saeviz/py.typed", "saeviz_gallery/demo/run.toml", "saeviz/testing/stores.py"} <= names
    assert not any(name.startswith(("tests/", "benchmarks/", "docs/", "examples/")) for name in names)
