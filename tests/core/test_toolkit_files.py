"""Writing files so that a crash leaves the old or the new."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from saeviz import RunDirError
from saeviz.formats.files import atomic_folder
from saeviz.toolkit.files import append_line, atomic_files, atomic_path, read_lines, remove_temporaries, write_atomic


def test_text_and_bytes_replace_the_whole_file_and_folders_are_made(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    write_atomic(path, "a long first content")
    write_atomic(path, "short \u732b")
    assert path.read_text(encoding="utf-8") == "short \u732b"
    write_atomic(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_as_readable_as_any_other(tmp_path):
    (tmp_path / "plain").write_text("")
    write_atomic(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_atomic(path, "old")

    def fail():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            assert temporary.parent == path.parent
            raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_renamed_before_it_is_on_the_disk(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(os.fstat(descriptor).st_ino))
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("content")
        inode = temporary.stat().st_ino
        assert not done
    assert done == [inode, tmp_path.stat().st_ino]


@pytest.mark.parametrize(
    ("number", "step"),
    [(errno.ENOSPC, "free some space"), (errno.EACCES, "permissions"), (errno.EROFS, "read-only"), (errno.EIO, "")],
)
def test_a_disk_that_refuses_is_explained(tmp_path, monkeypatch, number, step):
    def refuse(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    for write in (write_atomic, append_line):
        with pytest.raises(RunDirError) as caught:
            write(tmp_path / "a.txt", "text")
        assert str(caught.value).startswith(f"{tmp_path / 'a.txt'} cannot be written: {os.strerror(number)}")
        assert step in str(caught.value)


def test_a_file_in_the_way_of_a_folder_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirError, match="a file is in the way"):
        write_atomic(tmp_path / "file" / "a.txt", "text")


def test_many_files_are_there_whole_when_the_block_ends_and_none_is_left_of_a_block_that_fails(tmp_path):
    folder = tmp_path / "new" / "many"
    with atomic_files(folder) as write:
        for number in range(600):
            write(f"{number % 300}", b"%d" % number)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        f"{number % 300}": b"%d" % number for number in range(300, 600)
    }

    def fails():
        with atomic_files(folder) as write:
            write("0", b"half of them")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert (folder / "0").read_bytes() == b"300"
    assert len(list(folder.iterdir())) == 300


def test_many_files_that_a_disk_refuses_are_explained(tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(RunDirError, match=r"cannot be written: .*free some space"), atomic_files(tmp_path) as write:
        write("a", b"")
    assert list(tmp_path.iterdir()) == []


def test_lines_come_back_in_order(tmp_path):
    path = tmp_path / "new" / "lines.jsonl"
    assert read_lines(path) == []
    for text in ("one", "", "tw\u2028o", "three\r"):
        append_line(path, text)
    assert read_lines(path) == ["one", "", "tw\u2028o", "three\r"]


@pytest.mark.parametrize("torn", [b"half", b"\xe7\x8c", b"\x00\x00"])
@pytest.mark.parametrize("whole", [[], ["one", "two"]])
def test_a_torn_last_line_does_not_count_and_is_cut_off(tmp_path, whole, torn):
    path = tmp_path / "lines"
    for text in whole:
        append_line(path, text)
    with path.open("ab") as file:
        file.write(torn)
    assert read_lines(path) == whole
    append_line(path, "next")
    assert read_lines(path) == [*whole, "next"]


def test_a_line_that_need_not_be_durable_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    path = tmp_path / "lines"
    append_line(path, "one")
    with path.open("a") as file:
        file.write("torn")
    monkeypatch.setattr(os, "fsync", lambda descriptor: pytest.fail("it waited"))
    append_line(path, "two", durable=False)
    assert read_lines(path) == ["one", "two"]


def test_a_line_cannot_hold_two(tmp_path):
    with pytest.raises(ValueError, match="line end"):
        append_line(tmp_path / "lines", "one\ntwo")


def test_lines_that_are_not_text_are_named(tmp_path):
    (tmp_path / "lines").write_bytes(b"\xff\n")
    with pytest.raises(RunDirError, match="lines is damaged"):
        read_lines(tmp_path / "lines")
    with pytest.raises(RunDirError, match="cannot be read"):
        read_lines(tmp_path)


def test_only_temporaries_are_removed(tmp_path):
    with atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("whole")
        leftover = temporary.with_name(temporary.name.replace("saeviz-", "saeviz-0"))
    leftover.write_text("half")
    folder = tmp_path / leftover.name.replace("saeviz-0", "saeviz-1")
    folder.mkdir()
    (folder / "part").write_text("half")
    (tmp_path / "mine.tmp").write_text("keep")
    remove_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "mine.tmp"]


def test_a_folder_takes_the_place_of_the_old_one_when_all_of_it_is_written(tmp_path):
    path = tmp_path / "folder"

    def put(name, fails=False):
        with atomic_folder(path) as temporary:
            (temporary / "below").mkdir()
            (temporary / "below" / name).write_text(name)
            if fails:
                raise KeyError("stop")

    put("one")
    with pytest.raises(KeyError, match="stop"):
        put("two", fails=True)
    assert [file.name for file in (path / "below").iterdir()] == ["one"]
    put("two")
    assert [file.name for file in (path / "below").iterdir()] == ["two"]
    assert list(tmp_path.iterdir()) == [path]
    with atomic_folder(path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    path, rename = tmp_path / "folder", Path.rename
    path.mkdir()
    (path / "old").write_text("old")

    def fail(self, target):
        if target == path and not self.with_name("folder").exists() and (self / "new").exists():
            raise OSError(errno.EIO, "broken")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)

    def put():
        with atomic_folder(path) as temporary:
            (temporary / "new").write_text("new")

    with pytest.raises(RunDirError, match="broken"):
        put()
    assert [file.name for file in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]
