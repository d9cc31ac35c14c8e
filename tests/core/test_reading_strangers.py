"""A run directory from a stranger: reading it loads no code, gives away no key, contacts no host, writes nothing."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

import saeviz
from saeviz import ExitCode
from saeviz.pipeline.reading import Grants
from saeviz.serving.service import Service
from saeviz.stores.places import Places
from tests.conftest import FAKE_RUN, FAKES

KEY = "sk-of-the-reader"
PLUGIN = """
from pathlib import Path
Path({mark!r}).touch()
import saeviz
@saeviz.hookimpl
def saeviz_scorers():
    yield from ()
"""
READ = {
    "show": ["show", "layer1.cls/0", "--run", "RUN"],
    "heatmap": ["heatmap", "layer1.cls/0", "picture/3", "--run", "RUN"],
    "store info": ["store", "info", "RUN"],
    "store copy": ["store", "copy", "RUN", "npz:copied"],
}


class Host:
    """Listens on loopback and counts who comes."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.heard: list[bytes] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                self.heard.append(b"")  # it came, even if it waits for us to speak first
                self.heard[-1] = connection.recv(65536)


@pytest.fixture
def host():
    made = Host()
    yield made
    made.socket.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A run directory."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "fake.toml").write_text(FAKE_RUN)
    return saeviz.run(folder / "fake.toml").dir


@pytest.fixture
def received(made, tmp_path) -> Path:
    """The run directory, where it was not made."""
    return Path(shutil.copytree(made, tmp_path / "received"))


def change(received: Path, **tables) -> None:
    """Write tables into the configuration of a manifest, and `store` also as what has the features."""
    manifest = json.loads((received / "run.json").read_text())
    for name, table in tables.items():
        if name == "use_plugins":
            manifest[name] = table
        else:
            manifest["config"][name] = table
        if name == "store":
            manifest["stages"]["extract"]["store"] = {
                key: table[key] for key in table if key not in ("token", "retries")
            }
    (received / "run.json").write_text(json.dumps(manifest))


def call(saeviz_command, command: str, received: Path, *more: str):
    return saeviz_command(*[received if word == "RUN" else word for word in READ[command]], *more)


@pytest.fixture
def hostile(received, tmp_path):
    """Its manifest names a plugin file beside it and a module; gives the file that these make when they are loaded."""
    mark = tmp_path / "executed"
    (received / "evil.py").write_text(PLUGIN.format(mark=str(mark)))
    (tmp_path / "evil_module").mkdir()
    (tmp_path / "evil_module" / "__init__.py").write_text(PLUGIN.format(mark=str(mark)))
    change(received, use_plugins=[str(received / "evil.py"), "module:evil_module.inner", FAKES])
    return mark


@pytest.mark.slow
@pytest.mark.parametrize("command", READ)
def test_no_code_that_the_manifest_names_is_loaded(saeviz_command, received, hostile, command, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SAEVIZ_PLUGINS", FAKES)
    ended = call(saeviz_command, command, received)
    assert ended.code == ExitCode.DONE, ended
    assert not hostile.exists()
    if command != "show":  # which needs no plugin at all
        assert f"{received / 'evil.py'},module:evil_module.inner; if you trust it: --plugins" in ended.err


def test_nor_from_python_until_the_reader_names_it(received, hostile, monkeypatch):
    run = saeviz.open_run(received, plugins=[FAKES])
    assert len(run.items) == 24
    assert len(run.top_images("layer1.cls/0")) > 0
    assert run.features("layer1.cls").matrix.nnz > 0
    assert not hostile.exists()
    assert len(saeviz.open_run(received, plugins=[FAKES, str(received / "evil.py")]).items) == 24
    assert hostile.exists()


def test_a_component_of_a_plugin_that_is_left_out_is_named_with_what_to_do(saeviz_command, received):
    ended = call(saeviz_command, "heatmap", received)
    assert ended.code == ExitCode.USAGE
    assert f"names code that reading it does not load: {FAKES}; if you trust it: --plugins '{FAKES}'" in ended.err
    assert call(saeviz_command, "heatmap", received, "--plugins", FAKES).code == ExitCode.DONE


HOSTS = {
    "store": lambda url: {"store": {"use": "http", "url": url, "token": {"env": "OPENAI_API_KEY"}}},
    "images": lambda url: {"images": {"use": "http", "url": url, "token": {"env": "OPENAI_API_KEY"}}},
    "both": lambda url: {
        name: {"use": "http", "url": url, "token": {"env": "OPENAI_API_KEY"}} for name in ("images", "store")
    },
    "no token": lambda url: {"images": {"use": "http", "url": url}, "store": {"use": "http", "url": url}},
    "supabase": lambda url: {
        "store": {"use": "supabase", "url": url, "run": "art", "key": {"env": "OPENAI_API_KEY"}},
        "images": {"use": "supabase", "url": url, "table": "t", "bucket": "b"},
    },
    "database": lambda url: {
        "store": {"use": "sql", "url": {"env": "DATABASE_URL"}, "run": "art"},
        "images": {"use": "sql", "url": {"env": "DATABASE_URL"}, "query": "select 1", "url_column": "a"},
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("command", READ)
@pytest.mark.parametrize("name", HOSTS)
def test_no_host_is_contacted_and_no_key_is_given(saeviz_command, received, host, monkeypatch, command, name):
    monkeypatch.setenv("SAEVIZ_PLUGINS", FAKES)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("SUPABASE_KEY", KEY)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:{KEY}@127.0.0.1:{host.port}/art")
    change(received, **HOSTS[name](f"http://127.0.0.1:{host.port}"))
    ended = call(saeviz_command, command, received)
    assert host.heard == []
    assert KEY not in ended.err + ended.out
    if command == "show":
        assert ended.code == ExitCode.DONE, "it needs none of this"
    elif ended.code != ExitCode.DONE:
        assert "if you trust it: --" in ended.err, ended


def test_a_host_is_contacted_when_the_reader_says_so_and_still_without_the_key(
    saeviz_command, received, host, monkeypatch
):
    monkeypatch.setenv("SAEVIZ_PLUGINS", FAKES)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    change(received, store={"use": "http", "url": f"http://127.0.0.1:{host.port}", "retries": 0})
    refused = call(saeviz_command, "store info", received)
    assert "run.json wants http to ask 127.0.0.1; reading a run contacts no host" in refused.err
    assert host.heard == []
    call(saeviz_command, "store info", received, "--online")
    assert len(host.heard) == 1
    token = {"use": "http", "url": f"http://127.0.0.1:{host.port}", "retries": 0, "token": {"env": "OPENAI_API_KEY"}}
    change(received, store=token)
    refused = call(saeviz_command, "store info", received, "--online")
    assert "given the environment variable OPENAI_API_KEY" in refused.err
    assert "--secret OPENAI_API_KEY" in refused.err
    assert len(host.heard) == 1
    call(saeviz_command, "store info", received, "--online", "--secret", "OPENAI_API_KEY")
    assert KEY.encode() in host.heard[1]


def test_a_key_that_a_plugin_takes_by_itself_is_withheld_too(received, host, monkeypatch):
    pytest.importorskip("supabase")
    monkeypatch.setenv("SUPABASE_KEY", KEY)
    change(received, images={"use": "supabase", "url": f"http://127.0.0.1:{host.port}", "table": "t", "bucket": "b"},
           extractor={"use": "clip-b32-prisma"})  # fmt: skip
    run = saeviz.open_run(received, online=True)
    with pytest.raises(saeviz.ConfigError, match="gives away no secret; if you trust it: --secret SUPABASE_KEY"):
        _ = run.items
    assert host.heard == []


def test_a_key_that_is_not_set_is_said_to_be_so(received, host, monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    change(received, store={"use": "http", "url": f"http://127.0.0.1:{host.port}", "token": {"env": "NOT_SET"}})
    run = saeviz.open_run(received, plugins=[FAKES], online=True, secrets=["NOT_SET"])
    with pytest.raises(saeviz.ConfigError, match="the environment variable NOT_SET is not set"):
        run.features("layer1.cls")


def test_a_url_in_a_table_is_not_fetched(received, host, tmp_path, monkeypatch):
    (tmp_path / "urls.csv").write_text(f"url,mood\nhttp://127.0.0.1:{host.port}/a.png,1\n")
    change(received, images={"use": "url", "path": str(tmp_path / "urls.csv"), "allow_private": True})
    run = saeviz.open_run(received, plugins=[FAKES])
    [item] = run._session.dataset.items
    with pytest.raises(saeviz.ImageError):
        item.open()
    assert host.heard == []


def test_nothing_is_written_where_the_manifest_says(received, tmp_path, monkeypatch):
    before = {path: path.read_bytes() for path in received.rglob("*") if path.is_file()}
    change(received, run={"dir": str(tmp_path / "elsewhere"), "cache_dir": str(tmp_path / "cache"), "device": "cpu"})
    before[received / "run.json"] = (received / "run.json").read_bytes()
    run = saeviz.open_run(received, plugins=[FAKES])
    run.heatmap_image("layer1.cls/0", "picture/3")
    assert run.features("layer1.cls").item_ids
    assert {path: path.read_bytes() for path in received.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "manifest",
    ["{}", "[]", '{"format": 1, "stages": []}', '{"format": 1, "stages": {"extract": 7}}', "[" * 100_000,
     '{"format": 1, "stages": {"extract": {"spaces": [7]}}, "config": {}}',
     '{"format": 1, "stages": {"extract": {"spaces": [{"layer": "x", "tokens": "cls", "n_features": 1}]}}}',
     '{"format": 1, "stages": {"score": {"digest": "", "facts": "x"}}}',
     '{"format": 1, "stages": {"score": {"digest": "", "counts": [1]}}}',
     '{"format": 1, "stages": {"extract": {"store": 7, "spaces": []}}, "config": 7, "use_plugins": 7}'],
)  # fmt: skip
@pytest.mark.parametrize("command", READ)
def test_a_manifest_that_is_none_is_a_sentence(saeviz_command, tmp_path, manifest, command):
    (tmp_path / "received").mkdir()
    (tmp_path / "received" / "run.json").write_text(manifest)
    ended = call(saeviz_command, command, tmp_path / "received")
    assert ended.code not in (ExitCode.DONE, 70), ended
    assert ended.err.strip()
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "name", [".lock", "log.txt", "failures.jsonl", "run.json", "report", "labels.jsonl", "features"]
)
def test_a_run_does_not_write_through_the_links_of_a_received_directory(
    saeviz_command, received, fake_run, name, tmp_path
):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "runs").mkdir()
    received.rename(tmp_path / "runs" / "fake")
    link = tmp_path / "runs" / "fake" / name
    if name == "run.json":
        link.rename(tmp_path / "manifest")
        (tmp_path / "precious").write_text((tmp_path / "manifest").read_text())
    elif link.is_dir():
        link.rename(tmp_path / f"old {name}")
    else:
        link.unlink(missing_ok=True)
    precious = (tmp_path / "precious").read_text()
    link.symlink_to(tmp_path / "precious")
    ended = saeviz_command("run", fake_run, "--redo", "extract", "--redo", "report")
    assert (tmp_path / "precious").read_text() == precious
    assert ended.code == ExitCode.USAGE
    assert f"{link} is a link that leads out of the run directory" in ended.err


def test_a_component_that_is_not_there_stops_only_what_needs_it(received):
    change(received, images={"use": "of-somebody-else"}, extractor={"use": "fake-extractor", "no_such_option": 1})
    run = saeviz.open_run(received, plugins=[FAKES])
    assert run.features("layer1.cls").matrix.nnz > 0
    with pytest.raises(saeviz.ConfigError, match="of-somebody-else"):
        _ = run.items
    with pytest.raises(saeviz.ConfigError, match="no_such_option"):
        run.field_of_view("picture/3")


def test_a_service_without_the_embedding_plugin_serves_the_rest(received):
    change(received, embeddings={"use": "of-somebody-else"}, images={"use": "of-somebody-else"})
    place = Places(Grants([FAKES]), (), "store").source(str(received), "store")
    service = Service(place)
    assert service.embeddings is None
    assert service.images is not None
    assert len(service.features.item_ids(service.features.spaces()[0])) == 24
    with pytest.raises(saeviz.ConfigError, match="of-somebody-else"):
        service.images.all()


DIALS = """
import saeviz
from collections.abc import Iterator

class Options(saeviz.Options):
    host: str = "db.example"
    mirror_url: str | None = None

class Images:
    def __init__(self, options, context):
        raise AssertionError("it was built")

@saeviz.hookimpl
def saeviz_image_providers() -> Iterator[saeviz.ImageProviderSpec]:
    yield saeviz.ImageProviderSpec(name="dials", summary="dials", options=Options, factory="dials:Images")
"""


@pytest.mark.parametrize("options", [{"host": "db.example"}, {"host": "", "mirror_url": "db.example:80/x"}, {}])
def test_an_address_needs_no_scheme_to_be_one(received, tmp_path, options):
    (tmp_path / "dials.py").write_text(DIALS)
    change(received, images={"use": "dials", **options})
    run = saeviz.open_run(received, plugins=[FAKES, str(tmp_path / "dials.py")])
    with pytest.raises(saeviz.ConfigError, match=r"wants dials to ask db\.example; .*--online"):
        _ = run.items


@pytest.mark.slow
@pytest.mark.parametrize("query", ["", "?host=db.example", "?service=art"])
def test_a_database_that_was_granted_by_its_secret_is_still_a_host(received, monkeypatch, query):
    pytest.importorskip("psycopg")
    url = f"postgresql://me:{KEY}@{'' if query else 'db.example'}/art{query}"
    monkeypatch.setenv("DATABASE_URL", url)
    change(received, store={"use": "sql", "url": {"env": "DATABASE_URL"}, "run": "art"})
    run = saeviz.open_run(received, plugins=[FAKES], secrets=["DATABASE_URL"])
    with pytest.raises(saeviz.ConfigError, match="--online") as refused:
        run.features("layer1.cls")
    assert KEY not in str(refused.value)


def test_what_is_offline_because_a_run_is_read_says_how_to_change_it(received, tmp_path, monkeypatch):
    (tmp_path / "urls.csv").write_text("url,mood\nhttp://db.example/a.png,1\n")
    change(received, images={"use": "url", "path": str(tmp_path / "urls.csv")}, extractor={"use": "clip-b32-prisma"})
    run = saeviz.open_run(received, plugins=[FAKES])
    [item] = run._session.dataset.items
    with pytest.raises(saeviz.ImageError, match=r"not in the cache, and reading a run contacts no host.*--online"):
        item.open()


@pytest.mark.slow
@pytest.mark.parametrize("there", [False, True])
def test_reading_makes_no_database_where_the_manifest_says(saeviz_command, received, tmp_path, there):
    pytest.importorskip("sqlalchemy", reason="needs sqlalchemy")
    place = tmp_path / "of the reader" / "precious.sqlite"
    if there:
        place.parent.mkdir()
        with closing(sqlite3.connect(place)) as connection:
            connection.execute("create table mine (a)")
            connection.commit()
    before = place.read_bytes() if there else None
    change(received, store={"use": "sql", "path": str(place), "url": None, "run": None})
    ended = saeviz_command("store", "info", received)
    assert ended.code == ExitCode.DONE, ended
    with pytest.raises(saeviz.DataError, match="has no item"):
        saeviz.open_run(received, plugins=[FAKES]).features("layer1.cls")
    assert (place.read_bytes() if place.parent.exists() else None) == before


@pytest.mark.parametrize("share", [7, -0.5, "half", [0.5], float("nan")])
def test_a_share_of_images_that_is_none_is_a_sentence(received, share):
    manifest = json.loads((received / "run.json").read_text())
    manifest["stages"]["score"]["facts"]["correlation_split"] = share
    manifest["stages"]["score"]["counts"]["rated"] = 7
    manifest |= {"limit": 10**30}
    (received / "run.json").write_text(json.dumps(manifest))
    run = saeviz.open_run(received, plugins=[FAKES])
    assert run.ratings == ["warmth", "noise"]
    assert len(run.items) == 24
    with pytest.raises(saeviz.RunDirError, match="the share of a split is"):
        _ = run.split
