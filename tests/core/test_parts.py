"""A run in parts, gathered, ends as one that does everything itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import saeviz
from saeviz.pipeline.parts import Part
from tests.conftest import FAKES
from tests.sharded import RUN, alone, assert_same

PARTIAL, DONE, FAILED = saeviz.ExitCode.PARTIAL, saeviz.ExitCode.DONE, saeviz.ExitCode.FAILED


@pytest.fixture
def command(saeviz_command, tmp_path):
    """`saeviz run` of one run file, as far as embeddings."""
    (tmp_path / "run.toml").write_text(RUN)
    return lambda *arguments: saeviz_command("run", "run.toml", "--out", "shared", "--until", "embed", *arguments)


def gathered(tmp_path: Path) -> saeviz.Run:
    return saeviz.open_run(tmp_path / "shared", plugins=[FAKES])


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.npz")}


@pytest.mark.slow
@pytest.mark.parametrize("order", ["1/3 2/3 3/3", "3/3 1/3 2/3", "1/1", "2/9 9/9 1/9 3/9 4/9 8/9 6/9 5/9 7/9 2/9"])
def test_the_same_as_alone_in_any_order(command, tmp_path, order):
    codes = [command("--part", part).code for part in order.split()]
    assert set(codes) <= {DONE, PARTIAL}
    assert PARTIAL in codes, "of the part with the images that cannot be read"
    assert command("--gather").code == PARTIAL
    assert_same(gathered(tmp_path), alone(tmp_path / "run.toml"))


def test_a_part_writes_nothing_but_its_shards_and_the_same_twice(command, tmp_path):
    command("--part", "2/2")
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["shards"]
    made = files_of(tmp_path / "shared")
    assert len(made) == 6
    assert "0 images to do, in 0 of the 3 shards of part 2/2" in command("--part", "2/2").err
    command("--part", "2/2", "--redo", "extract", "--redo", "embed")
    assert files_of(tmp_path / "shared") == made


def test_a_part_needs_no_key_of_a_labeler(command, tmp_path):
    labeler = ("--set", "labeler.use=openai", "--set", 'labeler.api_key={env="A_KEY_THAT_IS_NOT_SET"}')
    few = ("--limit", "10", "--set", "run.rating_images=10", "--set", "judge.use=fake-labeler")
    assert command("--part", "1/1", *labeler, *few).code == DONE
    assert "environment variable A_KEY_THAT_IS_NOT_SET is not set" in command("--gather", *labeler, *few).err
    assert command("--gather", *few).code == DONE
    assert_same(gathered(tmp_path), alone(tmp_path / "run.toml", limit=10))


@pytest.mark.slow
def test_a_missing_part_is_named(command, tmp_path):
    missing = command("--gather")
    assert missing.code == FAILED
    assert "no part of this run has been made; begin with the same command and --part 1/N" in missing.err
    command("--part", "1/3")
    missing = command("--gather")
    assert missing.code == FAILED
    assert "part 2/3 has not begun; run the same command with --part 2/3 instead of --gather" in missing.err
    assert "part 3/3 has not begun" in missing.err
    for part in ("2/3", "3/3"):
        command("--part", part)
    next((tmp_path / "shared" / "shards" / "extract").glob("0000001-*.npz")).unlink()
    assert "extract: part 2/3 has not finished: 1 of its 2 shards are missing; run" in command("--gather").err
    command("--part", "2/3")
    assert command("--gather").code == PARTIAL
    assert_same(gathered(tmp_path), alone(tmp_path / "run.toml"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--set", "extractor.layers=[2]"], "part 2/2 was made with other settings in [extractor]"),
        (["--set", "run.precision=bfloat16"], "part 2/2 was made with other settings in [run]"),
        (["--set", "images.n=49"], "part 2/2 saw other images (49, and now there are 50)"),
        (["--limit", "30"], "part 2/2 saw other images (30, and now there are 50), other versions of them, or another"),
        (["--set", "executor.shard_items=7"], "part 2/2 was made with 7 images in a shard instead of 8"),
    ],
)
def test_a_part_of_another_run_is_named(command, changed, said):
    command("--part", "1/2")
    command("--part", "2/2", *changed)
    assert said in command("--gather").err


@pytest.mark.slow
def test_settings_that_change_after_a_run_do_not_cost_its_features(command, tmp_path):
    command("--part", "1/1")
    command("--gather")
    before = files_of(tmp_path / "shared" / "features")
    changed = ["--set", "extractor.layers=[2]"]
    assert "part 1/1 was made with other settings in [extractor]" in command("--gather", *changed).err
    assert files_of(tmp_path / "shared" / "features") == before
    command("--part", "1/1", *changed)
    assert command("--gather", *changed).code == PARTIAL
    assert_same(gathered(tmp_path), alone(tmp_path / "run.toml", "alone", "extractor.layers=[2]"))


@pytest.mark.slow
def test_what_was_left_out_is_not_asked_of_the_parts_again(command, tmp_path):
    command("--part", "1/1")
    for _ in range(3):
        assert command("--gather").code == PARTIAL
    assert_same(gathered(tmp_path), alone(tmp_path / "run.toml"))
    assert command("--part", "1/1").code == PARTIAL, "a part tries again"
    assert command("--gather").code == PARTIAL
    mended = ("--set", "images.broken=0")
    assert command("--gather", *mended).code == PARTIAL, "nobody has tried these images again"
    assert command("--part", "1/1", *mended).code == DONE
    assert command("--gather", *mended).code == DONE
    assert_same(gathered(tmp_path), alone(tmp_path / "run.toml", "mended", "images.broken=0"))


@pytest.mark.slow
def test_images_are_added(command, tmp_path):
    few = ("--set", "images.n=30", "--set", "images.broken=0")
    for part in ("1/2", "2/2"):
        command("--part", part, *few)
    assert command("--gather", *few).code == DONE
    for part in ("2/2", "1/2"):
        command("--part", part)
    assert command("--gather").code == PARTIAL
    assert_same(gathered(tmp_path), alone(tmp_path / "run.toml"))


@pytest.mark.slow
def test_limit_and_redo(command, tmp_path):
    command("--part", "1/1", "--limit", "20")
    assert command("--gather", "--limit", "20").code == DONE
    assert_same(gathered(tmp_path), alone(tmp_path / "run.toml", limit=20))
    again = ("--limit", "20", "--redo", "extract")
    missing = command("--gather", *again)
    assert "has not finished: 3 of its 3 shards are missing" in missing.err
    command("--part", "1/1", *again)
    assert command("--gather", *again).code == DONE
    assert_same(gathered(tmp_path), alone(tmp_path / "run.toml", limit=20))


@pytest.mark.slow
def test_one_stage_after_the_other(command, tmp_path):
    command("--part", "1/2", "--until", "extract")
    command("--part", "2/2", "--until", "extract")
    assert "embed: part 1/2 has not finished: 3 of its 3 shards are missing" in command("--gather").err
    command("--part", "2/2")
    command("--part", "1/2")
    assert command("--gather").code == PARTIAL
    assert_same(gathered(tmp_path), alone(tmp_path / "run.toml"))


@pytest.mark.slow
def test_an_ordinary_run_takes_in_the_parts_and_does_the_rest(command, tmp_path):
    command("--part", "2/3")
    said = command()
    assert said.code == PARTIAL
    assert_same(gathered(tmp_path), alone(tmp_path / "run.toml"))


@pytest.mark.parametrize("gather", [(), ("--gather",)])
def test_of_a_shard_with_images_that_the_run_no_longer_has_only_the_others_are_taken(command, tmp_path, gather):
    command("--part", "1/1", "--limit", "20")
    assert command(*gather, "--limit", "17").code == DONE
    assert_same(gathered(tmp_path), alone(tmp_path / "run.toml", limit=17))


def test_a_damaged_shard_is_made_again(command, tmp_path):
    command("--part", "1/1", "--limit", "20")
    path = next((tmp_path / "shared" / "shards" / "extract").glob("0000002-*.npz"))
    good = path.read_bytes()
    path.write_bytes(good[:-200])
    command("--part", "1/1", "--limit", "20")
    assert path.read_bytes() == good
    place = good.index(b"data1.npy") + 150
    path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    assert "Bad CRC-32 for file 'data1.npy'; it is removed: run the same" in command("--gather", "--limit", "20").err
    assert (
        "extract: part 1/1 has not finished: 1 of its 1 shards are missing" in command("--gather", "--limit", "20").err
    )
    command("--part", "1/1", "--limit", "20")
    assert command("--gather", "--limit", "20").code == DONE
    assert_same(gathered(tmp_path), alone(tmp_path / "run.toml", limit=20))


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "-1/3", "1/3/5", "a/b", "", "1/9999999"])
def test_what_is_not_a_part(command, text):
    said = command("--part", text)
    assert said.code == saeviz.ExitCode.USAGE
    assert f"--part: {text!r} is not a part; the third of 64 is 3/64" in said.err


def test_a_part_neither_gathers_nor_is_a_dry_run(command):
    assert "--part goes without --gather" in command("--part", "1/2", "--gather").err
    assert "--part goes without --dry-run" in command("--part", "1/2", "--dry-run").err


def test_the_log_of_a_part_has_the_traceback_of_a_component(command, tmp_path, monkeypatch):
    """Also of one that would end the process."""
    monkeypatch.setattr("saeviz.testing.fake_extractor._patches", lambda picture: sys.exit(3))
    said = command("--part", "1/2", "--limit", "8")
    log = tmp_path / "shared" / "shards" / "part-1-of-2.log"
    assert said.code == saeviz.ExitCode.PLUGIN
    assert f"fails with SystemExit: 3; the traceback is in {log}" in said.err
    assert "    SystemExit: 3" in log.read_text()


def test_a_part_has_something_to_do(command, tmp_path):
    said = command("--part", "1/2", "--from", "select", "--until", "report")
    assert said.code == saeviz.ExitCode.USAGE
    assert "--part: a part makes its share of extract, embed, embed-second, score, and none of them" in said.err
    assert not (tmp_path / "shared").exists()


def test_every_shard_is_in_one_part():
    shards = [saeviz.Shard(number, "", ("a",), ("",)) for number in range(20)]
    for n_parts in (1, 3, 20, 30):
        counts = [sum(Part(number, n_parts).has(shard) for number in range(1, n_parts + 1)) for shard in shards]
        assert counts == [1] * 20
