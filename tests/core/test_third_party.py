"""Real distributions, installed with pip: a good one works, bad ones are named and disturb nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from saeviz import ExitCode
from tests.conftest import FAKES, run_process

pytestmark = pytest.mark.slow

THIRD_PARTY = Path(__file__).resolve().parents[1] / "third_party"
BAD = {
    "fails_on_import": "RuntimeError: this plugin was built for another planet",
    "misspelt_hook": "saeviz_scorrers, which is not a hook; did you mean 'saeviz_scorers'?",
    "missing_marker": "its function saeviz_scorers lacks the marker @saeviz.hookimpl",
    "taken_name": "its store 'npz' is already offered by plugin npz (saeviz ",
    "newer_api": "made for plugin API 2, but this saeviz has 1; upgrade saeviz",
}


@pytest.fixture(scope="session")
def installed(tmp_path_factory) -> Path:
    """A folder with all of them, installed as pip installs a distribution."""
    target = tmp_path_factory.mktemp("site")
    packages = [str(THIRD_PARTY / name) for name in ("good", *BAD)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--disable-pip-version-check", "--target", str(target), *packages], check=True)
    return target


def run(installed: Path, folder: Path, *arguments: str | Path):
    environment = {"PYTHONPATH": str(installed), "SAEVIZ_STRICT_PLUGINS": ""}
    return run_process(*arguments, cwd=folder, **environment)


def test_the_good_one_is_listed_with_its_origin(installed, tmp_path):
    listing = run(installed, tmp_path, "plugins", "--json").json()
    coverage = next(component for component in listing["components"] if component["name"] == "coverage")
    assert (coverage["plugin"], coverage["from"], coverage["bundled"]) == ("good", "saeviz-test-good 1.2.3", False)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_one_is_left_out_with_its_reason(installed, tmp_path, name):
    listed = run(installed, tmp_path, "plugins")
    assert listed.code == ExitCode.PLUGIN
    line = f"plugin {name} (saeviz-test-{name.replace('_', '-')} 1.2.3) is left out"
    assert any(line in text and BAD[name] in text for text in listed.err.splitlines()), listed
    assert "coverage" in listed.out
    for withdrawn in ("innocent", "futuristic", "never"):
        assert withdrawn not in listed.out


def test_a_run_uses_the_good_one_and_goes_on_beside_the_bad(installed, tmp_path, fake_run):
    words = ["--plugins", f"good,{FAKES}", "--set", 'scorers=[{use="coverage", factor=2.0}]']
    ended = run(installed, tmp_path, "run", fake_run, *words)
    assert ended.code == ExitCode.DONE, ended
    assert "left out" not in ended.err, "the bad ones were not asked for, so they are not even imported"
    import saeviz

    opened = saeviz.open_run(tmp_path / "runs" / "fake")
    assert (opened.scores["coverage"] == 2 * opened.scores["n_active"] / 24).all()


def test_beside_all_the_bad_ones_a_run_works_and_says_so_in_a_line_each(installed, tmp_path, fake_run):
    ended = run(installed, tmp_path, "run", fake_run)
    assert ended.code == ExitCode.DONE, ended
    assert sum("is left out" in line for line in ended.err.splitlines()) == len(BAD)
    assert "Traceback" not in ended.err


def test_no_name_keeps_a_broken_one_from_being_imported(installed, tmp_path):
    without = ["--plugins", ",".join(f"no:{name}" for name in BAD)]
    listed = run(installed, tmp_path, "plugins", *without)
    assert listed.code == ExitCode.DONE, listed
    assert "another planet" not in listed.err


def test_bundled_only(installed, tmp_path):
    listed = run(installed, tmp_path, "plugins", "--plugins", "")
    assert listed.code == ExitCode.DONE
    assert "coverage" not in listed.out
    assert "npz" in listed.out


def test_the_environment_chooses_plugins_too_and_a_flag_leaves_one_out(installed, tmp_path):
    environment = {"PYTHONPATH": str(installed), "SAEVIZ_STRICT_PLUGINS": "", "SAEVIZ_PLUGINS": "good"}
    chosen = run_process("plugins", cwd=tmp_path, **environment)
    assert chosen.code == ExitCode.DONE
    assert "coverage" in chosen.out
    assert "coverage" not in run_process("plugins", "--plugins", "no:good", cwd=tmp_path, **environment).out


def test_strict_makes_them_an_error(installed, tmp_path, fake_run):
    ended = run_process("run", fake_run, cwd=tmp_path, PYTHONPATH=str(installed), SAEVIZ_STRICT_PLUGINS="1")
    assert ended.code == ExitCode.PLUGIN
    assert "another planet" in ended.err
