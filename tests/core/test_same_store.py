"""A store is not copied onto itself, however it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from saeviz.pipeline.reading import Grants
from saeviz.stores.places import Places
from saeviz.stores.same_store import is_same_store


@pytest.fixture
def features(finished_run, tmp_path, monkeypatch) -> Path:
    """A store in a folder, a link to it, and what the run says it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "runs" / "fake" / "features")
    return tmp_path / "runs" / "fake" / "features"


@pytest.mark.parametrize(
    ("source", "target", "options"),
    [
        ("npz:runs/fake/features", "npz:runs/fake/features/../features", []),
        ("npz:link", "npz:runs/fake/features", []),
        ("npz:runs/fake/features", "npz:link", []),
        ("npz:runs/fake/features", "npz:./link", ["--set", "to.encoding=scipy"]),
        ("runs/fake", "npz:link", []),
        ("runs/fake", "npz", ["--set", "to.shard_rows=7"]),
    ],
)
def test_a_copy_onto_itself_is_refused(saeviz_command, features, source, target, options):
    before = {path: path.stat().st_mtime_ns for path in features.rglob("*")}
    ended = saeviz_command("store", "copy", source, target, *options)

    assert ended.code == 2
    assert "would be copied onto itself" in ended.err
    assert {path: path.stat().st_mtime_ns for path in features.rglob("*")} == before


def test_a_copy_to_another_folder_is_none(saeviz_command, features):
    assert saeviz_command("store", "copy", "npz:link", "npz:elsewhere").code == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("postgresql://ada:a@db.example/art", "postgres://bob:b@DB.example:5432/art?sslmode=require", True),
        ("postgresql://localhost/art", "postgresql+psycopg://127.0.0.1:5432/art", True),
        ("postgresql:///art", "postgresql://localhost/art", True),
        ("postgresql://db.example/art", "postgresql://db.example/music", False),
        ("postgresql://db.example/art", "postgresql://db.example:5433/art", False),
    ],
)
@pytest.mark.parametrize(("runs", "may_be_same"), [(("a", "a"), True), (("a", "b"), False)])
def test_one_database_by_several_urls(tmp_path, monkeypatch, one, other, same, runs, may_be_same):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONE", one)
    monkeypatch.setenv("OTHER", other)
    settings = [
        'from.url={ env = "ONE" }',
        'to.url={ env = "OTHER" }',
        *(f"{place}.run={run}" for place, run in zip(("from", "to"), runs, strict=True)),
    ]
    places = Places(Grants(), settings, "from", "to")

    assert is_same_store(places.source("sql"), places.target("sql", None)) == (same and may_be_same)


def test_one_sqlite_file_by_several_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "features.sqlite"
    file.touch()
    (tmp_path / "hard").hardlink_to(file)
    (tmp_path / "soft").symlink_to(file)

    def same(one: str, other: str, workdir: Path | None = None) -> bool:
        places = Places(Grants(), (), "from", "to")
        return is_same_store(places.source(one), places.target(other, workdir))

    assert same("sql:features.sqlite", "sql:./soft")
    assert same("sql:soft", "sql:hard")
    assert same("sql:features.sqlite", "sql", tmp_path)
    assert not same("sql:features.sqlite", "sql:other.sqlite")
    assert not same("sql:features.sqlite", "npz:features.sqlite")
