"""The packages in `examples/plugins`, installed as an outsider would: they pass their tests and work in one run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

import saeviz
from saeviz.testing.loopback import Loopback
from tests.conftest import FAKES, ROOT
from tests.wheels import built

pytestmark = pytest.mark.slow

PACKAGES = sorted((ROOT / "examples" / "plugins").glob("saeviz-*"))
RUN = """
[run]
dir = "run"
[images]
use = "fake-images"
n = 24
[extractor]
use = "fake-extractor"
[store]
use = "duckdb"
path = "features.duckdb"
[embeddings]
use = "none"
[[scorers]]
use = "enrichment"
top_images = 4
[selector]
use = "fake-selector"
[labeler]
use = "ollama"
model = "eyes"
base_url = "URL"
[[reporters]]
use = "fake-reporter"
"""


def checked(*command, cwd, **environment):
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with all of them, installed by pip."""
    pytest.importorskip("duckdb", reason="duckdb is not installed")
    pytest.importorskip("httpx", reason="httpx is not installed")
    target = tmp_path_factory.mktemp("site")
    wheels = built(PACKAGES, tmp_path_factory.mktemp("wheels"))
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    checked(sys.executable, *pip, "--disable-pip-version-check", "--target", target, *wheels, cwd=target)
    return target


@pytest.fixture
def ollama(site, monkeypatch):
    """The stand-in of the package's own tests; gives its address."""
    monkeypatch.syspath_prepend(str(site))
    [path] = [package / "tests" / "test_ollama.py" for package in PACKAGES if package.name == "saeviz-ollama"]
    spec = importlib.util.spec_from_file_location("tests_of_the_package", path)
    tests = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tests)
    with Loopback(tests.Server, asked=[]) as server:
        yield server.url


def test_each_passes_its_own_tests(site):
    # The suite of stores kills writers in many ways, which costs most and is done for every bundled store.
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-k", "not killed and not dictionary"]
    tests = [package / "tests" for package in PACKAGES]
    checked(sys.executable, "-m", "pytest", *options, "--rootdir", site, *tests, cwd=site, PYTHONPATH=str(site))


def test_they_work_together_in_one_run(ollama, tmp_path):
    (tmp_path / "all.toml").write_text(RUN.replace("URL", ollama))
    run = saeviz.run(tmp_path / "all.toml", plugins=["duckdb", "enrichment", "ollama", FAKES])
    assert [run.manifest["plugins"][place]["from"] for place in ("store", "scorers.0", "labeler")] == [
        "saeviz-duckdb 0.1.0",
        "saeviz-enrichment 0.1.0",
        "saeviz-ollama 0.1.0",
    ]
    assert (tmp_path / "features.duckdb").is_file()
    assert run.labels
    assert all(label.label.endswith(" rectangles") for label in run.labels.values())
    assert run.columns["correlations"]["enrichment_lift"].unit == "times chance"
    assert run.correlations["enrichment_q"].notna().any()
