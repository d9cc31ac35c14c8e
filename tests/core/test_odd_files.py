"""Files that are none: pipes, devices, loops of links, and small ones that would fill the memory when they are read."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

import saeviz
from saeviz import ExitCode
from saeviz.formats.npz import read_npz
from saeviz.toolkit.files import Stamp, read_lines
from tests.conftest import WITHOUT_MODELS

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def folder(path: Path) -> None:
    path.mkdir()


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**32)


ODD = {
    pipe: "it is a pipe, not a file",
    device: "it is a device, not a file",
    loop: "Too many levels of symbolic links",
    folder: "Is a directory",
    huge: "has more than",
}


@pytest.fixture
def finished(finished_run) -> Path:
    """A run directory whose manifest knows no digests, so that its files are read whatever is in them."""
    made = saeviz.run(finished_run).dir
    manifest = json.loads((made / "run.json").read_text())
    for record in manifest["stages"].values():
        record.pop("sha256", None)
    (made / "run.json").write_text(json.dumps(manifest))
    return made


@pytest.mark.parametrize("make", ODD, ids=lambda make: make.__name__)
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_run_file_that_is_no_file_is_refused_and_never_waited_for(saeviz_command, command, make, tmp_path):
    make(tmp_path / "odd.toml")
    ended = saeviz_command(command, tmp_path / "odd.toml")
    assert ended.code == ExitCode.USAGE
    assert f"{tmp_path / 'odd.toml'} cannot be read: " in ended.err
    assert ODD[make] in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("make", ODD, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", ["labels.jsonl", "failures.jsonl", "scores.parquet", "selected.csv"])
def test_what_a_received_run_directory_has_instead_of_a_file_is_named(name, make, finished):
    (finished / name).unlink(missing_ok=True)
    make(finished / name)
    run = saeviz.open_run(finished)
    with pytest.raises(saeviz.SaevizError, match=name):
        getattr(run, name.partition(".")[0])


@pytest.mark.parametrize("make", [pipe, loop], ids=lambda make: make.__name__)
def test_a_run_goes_on_in_no_directory_with_pipes_or_endless_links(saeviz_command, fake_run, finished, make):
    make(finished / "features" / "odd")
    ended = saeviz_command("run", fake_run)
    assert ended.code == ExitCode.USAGE
    assert f"{finished / 'features' / 'odd'} is neither a file nor a folder; remove it" in ended.err


def test_a_manifest_larger_than_any_is_not_read(finished):
    os.truncate(finished / "run.json", 2**32)
    with pytest.raises(saeviz.SaevizError, match=r"run\.json cannot be read: it has more than 64 MB"):
        _ = saeviz.open_run(finished).manifest


def test_nor_looked_into_while_images_are_searched(tmp_path):
    from saeviz.toolkit.files import is_run_directory

    (tmp_path / "log.txt").touch()
    huge(tmp_path / "run.json")
    assert is_run_directory(tmp_path)


def test_lines_without_end_are_refused(tmp_path):
    huge(tmp_path / "lines.jsonl")
    with pytest.raises(saeviz.SaevizError, match="a line is longer than 64 MB"):
        read_lines(tmp_path / "lines.jsonl")


def test_a_stamp_fits_no_device(tmp_path):
    device(tmp_path / "shard")
    assert not Stamp(0, 0, "").fits(tmp_path / "shard")


@pytest.mark.slow
def test_an_archive_that_would_unpack_to_gigabytes_is_not_unpacked(tmp_path):
    with ZipFile(tmp_path / "bomb.npz", "w", ZIP_DEFLATED) as archive, archive.open("values.npy", "w") as file:
        for _ in range(2**30 // 2**24 + 1):
            file.write(bytes(2**24))
    assert (tmp_path / "bomb.npz").stat().st_size < 2**21
    with pytest.raises(ValueError, match="it would unpack to more than 1 GB"):
        read_npz(tmp_path / "bomb.npz")


@pytest.mark.slow
def test_a_table_that_repeats_a_row_without_end_is_not_read(finished):
    import pyarrow.parquet as pq

    table = pq.read_table(finished / "scores.parquet").slice(0, 1)
    with pq.ParquetWriter(finished / "scores.parquet", table.schema) as writer:
        many = table.take([0] * 2**20)
        for _ in range(2**30 // (2**20 * 8 * table.num_columns) + 1):
            writer.write_table(many)
    run = saeviz.open_run(finished)
    with pytest.raises(saeviz.SaevizError, match=r"scores\.parquet cannot be read \(it would unpack to"):
        _ = run.scores
    with pytest.raises(saeviz.SaevizError, match=r"scores\.parquet cannot be read \(it would unpack to"):
        run.scores_of("layer1.cls/0")


def test_what_a_table_says_of_pandas_does_not_count(finished):
    import pyarrow.parquet as pq

    before = saeviz.open_run(finished).scores
    table = pq.read_table(finished / "scores.parquet")
    about = json.loads(table.schema.metadata[b"pandas"]) | {"index_columns": ["layer", "feature"]}
    hostile = table.replace_schema_metadata({b"pandas": json.dumps(about).encode()})
    pq.write_table(hostile, finished / "scores.parquet")
    assert saeviz.open_run(finished).scores.equals(before)


def test_nor_is_one_read_that_has_a_column_twice(finished):
    import pyarrow.parquet as pq

    table = pq.read_table(finished / "scores.parquet")
    pq.write_table(table.append_column("layer", table["layer"]), finished / "scores.parquet")
    with pytest.raises(saeviz.SaevizError, match=r"scores\.parquet cannot be read \(it has two columns"):
        _ = saeviz.open_run(finished).scores


@pytest.mark.parametrize(
    ("name", "column", "ask"),
    [
        ("top_images.parquet", "rank", lambda run: run.top_item_ids("layer1.cls/0")),
        ("correlations.parquet", "rating", lambda run: run.correlations_of("layer1.cls/0")),
        ("scores.parquet", "n_active", lambda run: run.scores_of("layer1.cls/0")),
    ],
)
def test_a_column_that_readers_need_is_there_and_of_its_kind(finished, name, column, ask):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(finished / name)
    pq.write_table(table.drop_columns([column]), finished / name)
    with pytest.raises(saeviz.SaevizError, match=f"{name} has no column '{column}'"):
        ask(saeviz.open_run(finished))
    if column != "rating":
        words = pa.array(["many"] * len(table))
        pq.write_table(table.set_column(table.column_names.index(column), column, words), finished / name)
        with pytest.raises(saeviz.SaevizError, match=f"{name} has no whole numbers in its column '{column}'"):
            ask(saeviz.open_run(finished))


def test_a_store_in_a_circle_of_links_is_named(saeviz_command, finished, tmp_path):
    for path in sorted((finished / "features").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (finished / "features").rmdir()
    loop(finished / "features")
    ended = saeviz_command("store", "copy", finished, f"npz:{tmp_path / 'copy'}")
    assert ended.code == ExitCode.USAGE
    assert f"{finished / 'features'} is neither a file nor a folder; remove it" in ended.err


# -- what the disk does not permit; as root nothing is refused, so the refusal is made --------------------------------


@pytest.fixture
def forbidden(tmp_path, monkeypatch) -> Path:
    """A folder that may not be looked into."""
    folder = tmp_path / "forbidden"
    folder.mkdir()
    stat, scandir = os.stat, os.scandir

    def refused(path) -> bool:
        return isinstance(path, str | os.PathLike) and Path(path).is_relative_to(folder)

    def guarded_stat(path, *args, **kwargs):
        if refused(path) and Path(path) != folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, *args, **kwargs)

    def guarded_scandir(path="."):
        if refused(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "stat", guarded_stat)
    monkeypatch.setattr(os, "scandir", guarded_scandir)
    return folder


def test_a_folder_of_images_that_may_not_be_read_is_not_called_empty(saeviz_command, forbidden, tmp_path):
    (tmp_path / "ratings.csv").write_text("image,warmth\na.png,1\n")
    images = ["--images", forbidden, "--ratings", tmp_path / "ratings.csv", "--out", "out"]
    ended = saeviz_command("check", *images, *WITHOUT_MODELS)
    assert ended.code == ExitCode.FAILED
    assert f"images.path: {forbidden} cannot be read (Permission denied); change its permissions" in ended.err


def test_a_run_directory_that_may_not_be_read_is_named_with_the_next_step(forbidden):
    with pytest.raises(saeviz.SaevizError, match=r"run\.json cannot be read: Permission denied; change its perm"):
        saeviz.open_run(forbidden)


def test_what_nobody_could_explain_better_has_a_next_step(saeviz_command, forbidden):
    ended = saeviz_command("cache", "--cache-dir", forbidden / "cache")
    assert ended.code == ExitCode.FAILED
    assert "cannot be used: Permission denied; change its permissions or choose another folder" in ended.err
