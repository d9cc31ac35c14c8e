"""What all tests share."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path

import hypothesis
import pytest

import saeviz
import saeviz.cli
from saeviz.discovery import sources
from tests import object_store
from tests.service import Served

# The same examples every time, however busy the machine is.
hypothesis.settings.register_profile(
    "saeviz", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("saeviz")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
FAKES = "module:saeviz.testing.fakes"

WITHOUT_MODELS = ["--plugins", FAKES, "--set", "extractor.use=fake-extractor", "--set", "embeddings.use=none"]
"""Instead of the extractor and the embeddings that a run has by default, which need packages that may not be there."""

FAKE_RUN = """
[images]
use = "fake-images"
n = 24
[extractor]
use = "fake-extractor"
[store]
use = "npz"
[embeddings]
use = "fake-embeddings"
[[scorers]]
use = "monosemanticity"
draws = 0
[[scorers]]
use = "pearson-bh"
[labeler]
use = "fake-labeler"
[[reporters]]
use = "fake-reporter"
[plugins]
use = ["module:saeviz.testing.fakes"]
"""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are no part of an id: what a compressor or encoder makes of the same input differs, by clock or version."""
    return argname if isinstance(val, bytes | bytearray) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: at the end no process is left with a long one while the others have none."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> Iterator[None]:
    """No setting of the developer's own reaches a test, nor what runs share; a broken bundled plugin is an error.

    Only a machine that goes down needs fsync, and none does here. The many processes that tests start compile saeviz
    once and not each for itself.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in [name for name in os.environ if name.startswith("SAEVIZ_")]:
            monkeypatch.delenv(name)
        monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        monkeypatch.setenv("SAEVIZ_STRICT_PLUGINS", "1")
        monkeypatch.setenv("SAEVIZ_RUN__CACHE", "false")
        monkeypatch.setattr(os, "fsync", lambda descriptor: None)
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in the background of a shell: children inherit it
            signal.signal(signal.SIGINT, signal.default_int_handler)
        yield


@pytest.fixture(scope="session", autouse=True)
def installed_once() -> Iterator[None]:
    """Of all that is installed, the plugins are looked up again only where a folder of packages has changed."""

    @cache
    def looked_up(group: str, places: tuple[tuple[Path, int], ...]) -> EntryPoints:
        return entry_points(group=group)

    def known(*, group: str) -> EntryPoints:
        folders = [Path(place).absolute() for place in sys.path]
        return looked_up(group, tuple((place, place.stat().st_mtime_ns) for place in folders if place.is_dir()))

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sources, "entry_points", known)
        yield


@pytest.fixture
def shared() -> Path:
    """Real photographs and weights that lie beside the repository where it is developed."""
    if not SHARED.is_dir():
        pytest.skip("the folder of real photographs and weights is not beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of a server of S3 on this machine."""
    yield from object_store.running()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The address of a new bucket, with credentials in the environment."""
    pytest.importorskip("s3fs", reason="needs pip install 'saeviz[cloud]'")
    for name, value in object_store.environment(s3, tmp_path).items():
        monkeypatch.setenv(name, value)
    return object_store.new_bucket()


class Outcome:
    """How a command ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def json(self) -> dict:
        return json.loads(self.out)

    def __repr__(self) -> str:
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


@pytest.fixture
def saeviz_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Outcome]:
    """Run a command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            saeviz.cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Outcome(int(ended.value.code or 0), captured.out, captured.err)

    return call


def run_process(*arguments: str | Path, cwd: Path, **environment: str) -> Outcome:
    """Run a command line in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "saeviz", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def fake_run(tmp_path: Path) -> Path:
    """A run file that needs no model; its run directory is `runs/fake` beside it."""
    path = tmp_path / "fake.toml"
    path.write_text(FAKE_RUN)
    return path


@pytest.fixture(scope="session")
def finished_once(clean_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of `fake_run`, run once for all tests of this process, which only copy it."""
    path = tmp_path_factory.mktemp("finished") / "fake.toml"
    path.write_text(FAKE_RUN)
    return saeviz.run(path).dir


@pytest.fixture(scope="module")
def finished_copy(finished_once: Path, tmp_path_factory: pytest.TempPathFactory) -> saeviz.Run:
    """A copy of `finished_once`, opened, for tests of one module that change it; `fake.toml` lies two folders above."""
    folder = tmp_path_factory.mktemp("copy")
    (folder / "fake.toml").write_text(FAKE_RUN)
    shutil.copytree(finished_once, folder / "runs" / "fake")
    return saeviz.open_run(folder / "runs" / "fake", plugins=[FAKES])


@pytest.fixture(scope="module")
def served(run: saeviz.Run) -> Iterator[Served]:
    """The `run` of a module, served by a process of its own."""
    served = Served(run.dir, "--plugins", FAKES, token=None)
    yield served
    assert "Traceback" not in served.stop()


@pytest.fixture
def finished_run(fake_run: Path, finished_once: Path) -> Path:
    """As `fake_run`, where the run has finished: running it again finds everything up to date."""
    shutil.copytree(finished_once, fake_run.parent / "runs" / "fake")
    return fake_run
