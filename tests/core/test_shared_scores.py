"""The stage `score` shared among workers: the files are those of one process, to the last byte."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import saeviz
from saeviz.formats.feature_parts import write_feature_part
from saeviz.formats.states import StateFiles
from saeviz.pipeline.run import Plan
from saeviz.pipeline.stages import block_work, score_work
from saeviz.values import streams
from tests.conftest import FAKES
from tests.sharded import RUN, run
from tests.small_parts import PLUGIN
from tests.waiting import wait_until

TABLES = ("scores.parquet", "correlations.parquet", "top_images.parquet", "images.parquet", "selected.csv")
SELECTED = Plan(last="select")
SCORERS = (
    '{use="coverage"}',
    '{use="firing"}',
    '{use="pearson-bh"}',
    '{use="point-biserial", split=0.5}',
    '{use="partial", controls=["l0.layer1.cls"]}',
    '{use="redundancy", min_active=2}',
    '{use="likeness"}',
    '{use="monosemanticity", draws=0}',
    '{use="monosemanticity", name="everywhere", definition="global"}',
    '{use="spearman"}',
    '{use="pearson-bh", name="permuted", correction="max-t", permutations=39}',
)

BY_FEATURE = ('{use="spearman"}', SCORERS[-1])


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Parts of few images and blocks of few values, so that there are many of both."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "PART_SIZE", 8)
        patch.setattr(score_work, "PART_SIZE", 8)
        patch.setattr(score_work, "TOGETHER", 2)
        patch.setattr(block_work, "VALUES", 300)
        yield


def written(folder: Path) -> Path:
    path = folder / "run.toml"
    path.write_text(RUN.replace('use = ["module', f'use = ["{PLUGIN}", "module'))
    return path


@pytest.fixture
def run_file(tmp_path) -> Path:
    return written(tmp_path)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Callable[..., saeviz.Run]:
    """What one process finds with some scorers."""

    @cache
    def alone(scorers: tuple[str, ...] = SCORERS) -> saeviz.Run:
        return scored(written(tmp_path_factory.mktemp("alone")), "alone", "executor.use=local", scorers=scorers)

    return alone


def scored(run_file: Path, name: str, *settings: str, scorers: tuple[str, ...] = SCORERS) -> saeviz.Run:
    return run(run_file, name, f"scorers=[{', '.join(scorers)}]", *settings, plan=SELECTED)


def assert_same_scores(made: saeviz.Run, expected: saeviz.Run) -> None:
    for table in TABLES:
        assert (made.dir / table).read_bytes() == (expected.dir / table).read_bytes(), table
    mine, theirs = (one.manifest["stages"]["score"] for one in (made, expected))
    assert json.dumps(mine["facts"], sort_keys=True) == json.dumps(theirs["facts"], sort_keys=True)
    assert mine["counts"] == theirs["counts"]
    assert not (made.dir / "shards" / "score").exists()


def test_the_same_files(run_file, alone):
    expected, made = alone(), scored(run_file, "shared")
    assert len(made.scores) == 64
    assert_same_scores(made, expected)


@pytest.mark.slow
def test_two_processes_of_which_one_dies(run_file, alone, caplog):
    deaths = run_file.parent / "deaths"
    deaths.mkdir()
    scorers = (*SCORERS[:1], f'{{use="firing", deaths="{deaths}"}}', *SCORERS[2:])
    run(run_file, "shared", "executor.use=local", plan=Plan(last="embed"))
    made = scored(run_file, "shared", "executor.use=local", "executor.workers=2", scorers=scorers)
    assert not deaths.exists()
    assert "ended with exit code 7 while it worked on shard" in caplog.text
    assert_same_scores(made, alone())


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 15, 20, 45, 54])
def test_the_run_is_stopped_at_any_state_and_goes_on(run_file, alone, monkeypatch, n):
    expected = alone()
    made, write = [], StateFiles.write

    def stopped(files, key, nodes):
        if len(made) == n:
            raise KeyboardInterrupt
        made.append(key)
        write(files, key, nodes)

    with monkeypatch.context() as patch:
        patch.setattr(StateFiles, "write", stopped)
        with pytest.raises(KeyboardInterrupt):
            scored(run_file, "shared")
    monkeypatch.setattr(StateFiles, "write", lambda files, key, nodes: made.append(key) or write(files, key, nodes))
    assert_same_scores(scored(run_file, "shared"), expected)
    assert len(made) == len(set(made)), "no state was made twice"


@pytest.mark.slow
def test_the_run_is_killed_while_it_works_by_feature(run_file, alone):
    expected = alone(BY_FEATURE)
    run(run_file, "shared", "executor.use=local", plan=Plan(last="embed"))
    score = run_file.parent / "shared/shards/score"
    settings = (f"scorers=[{', '.join(BY_FEATURE)}]", "executor.use=local", "executor.workers=2")
    command = [
        sys.executable,
        "-m",
        "saeviz",
        "run",
        run_file.name,
        "--until",
        "select",
        "--out",
        str(score.parents[1]),
    ]
    command += [word for setting in settings for word in ("--set", setting)]
    process = subprocess.Popen(command, cwd=run_file.parent, stderr=subprocess.DEVNULL)
    copies = score / "by-feature"
    wait_until(lambda: process.poll() is not None or len(list(copies.glob("[!.]*"))) > 2)
    process.kill()
    process.communicate()
    one, other, *_ = copies.glob("[!.]*")
    one.write_bytes(one.read_bytes()[:-5])
    other.write_bytes(bytes(other.stat().st_size))
    assert_same_scores(
        scored(run_file, "shared", "executor.use=local", "executor.workers=2", scorers=BY_FEATURE), expected
    )


@pytest.mark.parametrize("n", [0, 1, 5])
def test_the_run_is_stopped_while_it_copies_features(run_file, alone, monkeypatch, n):
    made = []

    def stopped(path, *more):
        if len(made) == n:
            raise KeyboardInterrupt
        made.append(path)
        write_feature_part(path, *more)

    monkeypatch.setattr(block_work, "write_feature_part", stopped)
    with pytest.raises(KeyboardInterrupt):
        scored(run_file, "shared", scorers=BY_FEATURE)
    monkeypatch.setattr(
        block_work, "write_feature_part", lambda *given: made.append(given[0]) or write_feature_part(*given)
    )
    assert_same_scores(scored(run_file, "shared", scorers=BY_FEATURE), alone(BY_FEATURE))
    assert len(made) == len(set(made)) == 6, "nothing was copied twice"


def interrupt_before_scores(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("saeviz.pipeline.stages.scoring.merged_state", interrupt)
        with pytest.raises(KeyboardInterrupt):
            scored(run_file, "shared")


def test_a_damaged_state_is_made_again(run_file, alone, monkeypatch):
    expected = alone()
    interrupt_before_scores(run_file, monkeypatch)
    paths = list((run_file.parent / "shared/shards/score").glob("*.npz"))
    assert len(paths) == 4
    paths[0].write_bytes(paths[0].read_bytes()[:-30])
    of_other_names, of_other_shapes = ({**np.load(path)} for path in paths[1:3])
    np.savez(paths[1], **{f"{name}s": array for name, array in of_other_names.items()})
    np.savez(paths[2], **{name: array.ravel()[:1] for name, array in of_other_shapes.items()})
    np.savez(paths[3], **{"0.0.n": np.array(["many"])})
    assert_same_scores(scored(run_file, "shared"), expected)


def test_columns_that_a_scorer_gives_are_seen_by_the_next(run_file, alone):
    scorers = ('{use="firing"}', '{use="coverage"}', '{use="pearson-bh", ratings=["warmth", "l0.layer1.cls"]}')
    strength = ('{use="partial", ratings=["warmth"], controls=["l0.layer2.cls"]}',)
    expected = alone(scorers + strength)
    made = scored(run_file, "shared", scorers=scorers + strength)
    assert "strength" in made.images_table
    assert_same_scores(made, expected)


def test_a_store_in_memory_is_read_by_the_run_alone(run_file, alone):
    expected = alone()
    assert_same_scores(scored(run_file, "shared", "store.use=memory"), expected)


def test_a_run_by_one_process_removes_what_workers_have_left(run_file, alone, monkeypatch):
    expected = alone()
    interrupt_before_scores(run_file, monkeypatch)
    assert_same_scores(scored(run_file, "shared", "executor.use=local"), expected)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("partial", "fails: it gave None from partial, not a mapping of names to arrays, one at least"),
        ("merge", "fails: it gave None from merge, not a mapping of names to arrays, one at least"),
        ("finish", "returned None from finish, which must give ScoreColumn, ImageColumn, PairB"),
        ("text", "fails: it gave a list as 'n' from partial, not an array of numbers"),
        ("images", "fails: it gave arrays of other names, types or shapes from partial for some images than for none"),
    ],
)
def test_states_are_arrays_of_numbers_and_what_is_not_is_told_with_its_method(run_file, monkeypatch, method, said):
    monkeypatch.setenv("SMALL_PARTS_BREAK", method)
    run(run_file, "shared", "executor.use=local", plan=Plan(last="embed"))
    with pytest.raises(saeviz.PluginError, match=rf"^scorers\.0: firing of plugin tests\.small_parts .*\) {said}"):
        scored(run_file, "shared", scorers=('{use="firing"}',))


def test_states_of_features_that_are_extracted_anew_are_removed(run_file):
    made = scored(run_file, "shared")
    left = made.dir / "shards" / "score" / "left-by-a-killed-run.npz"
    left.parent.mkdir(parents=True)
    left.touch()
    again = run(run_file, "shared", plan=Plan(last="extract", redo=("extract",)))
    assert again.dir == made.dir
    assert not left.exists()


def test_states_of_features_that_the_store_has_lost_are_removed(run_file, alone, monkeypatch):
    expected = alone()
    interrupt_before_scores(run_file, monkeypatch)
    states = run_file.parent / "shared/shards/score"
    assert list(states.glob("*.npz"))
    next((run_file.parent / "shared/features").rglob("*.npz")).unlink()
    run(run_file, "shared", plan=Plan(last="extract"))
    assert not list(states.glob("*"))
    assert_same_scores(scored(run_file, "shared"), expected)


def test_what_an_interrupted_run_with_other_options_has_left_goes_first(run_file, monkeypatch):
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    interrupt_before_scores(run_file, monkeypatch)
    states = run_file.parent / "shared/shards/score"
    assert len(list(states.glob("*.npz"))) == 4
    monkeypatch.setattr(StateFiles, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        scored(run_file, "shared", scorers=BY_FEATURE)
    assert not list(states.glob("*.npz"))


class Parts:
    """A run in two parts, whose features were gathered."""

    def __init__(self, saeviz_command, folder: Path, *scorers: str) -> None:
        self.dir = folder / "parts"
        self._settings = ("--out", "parts", "--until", "select", "--set", f"scorers=[{', '.join(scorers)}]")
        self._command = saeviz_command
        for number in (1, 2):
            said = self.part(number)
            assert "score: features are not gathered yet" in said.err
        assert self.gather("--until", "embed").code == saeviz.ExitCode.PARTIAL

    def part(self, number: int, *more: str):
        return self._command("run", "run.toml", *self._settings, "--part", f"{number}/2", *more)

    def gather(self, *more: str):
        return self._command("run", "run.toml", *self._settings, "--gather", *more)

    def files(self) -> dict[str, bytes]:
        paths = (path for path in self.dir.rglob("*") if path.is_file() and "shards" not in path.parts)
        return {str(path.relative_to(self.dir)): path.read_bytes() for path in paths}

    def assert_same_scores(self, expected: saeviz.Run) -> None:
        assert_same_scores(saeviz.open_run(self.dir, plugins=[FAKES, PLUGIN]), expected)


@pytest.mark.slow
def test_what_needs_embeddings_is_left_to_the_run_that_gathers(run_file, alone, saeviz_command):
    parts = Parts(saeviz_command, run_file.parent, *SCORERS)
    for number in (1, 2):
        assert parts.part(number).code == saeviz.ExitCode.PARTIAL
    one, *_ = (parts.dir / "shards" / "score" / "by-feature").iterdir()
    one.write_bytes(b"damaged since")
    assert parts.gather().code == saeviz.ExitCode.PARTIAL
    parts.assert_same_scores(alone())


def test_parts_of_a_run_without_scorers_end(run_file, saeviz_command):
    parts = Parts(saeviz_command, run_file.parent)
    for number in (1, 2):
        assert parts.part(number).code == saeviz.ExitCode.PARTIAL, "of the images that cannot be read"
    assert parts.gather("--until", "score").code == saeviz.ExitCode.PARTIAL


def test_parts_make_states_and_no_more(run_file, alone, saeviz_command, monkeypatch):
    scorers = (SCORERS[1], SCORERS[4], *BY_FEATURE)
    expected = alone(scorers)
    parts = Parts(saeviz_command, run_file.parent, *scorers)
    before = parts.files()
    assert parts.part(2).code == saeviz.ExitCode.PARTIAL, "of the images that cannot be read"
    assert parts.files() == before
    said = parts.gather()
    assert said.code == saeviz.ExitCode.FAILED
    assert "score: part 1/2 has not begun; run the same command with --part 1/2 instead of --gather" in said.err
    own, of_another = (parts.dir / f"shards/score/.saeviz~part-{number}-of-2~0.tmp" for number in (1, 2))
    for left in (own, of_another):
        left.mkdir()
        (left / "0.bin").touch()
    assert parts.part(1).code == saeviz.ExitCode.PARTIAL
    assert not own.exists(), "which a part that was killed has left"
    assert of_another.exists(), "which may be at work"
    with monkeypatch.context() as patch:
        for work in (score_work.ScoreWork, block_work.CopyWork, block_work.BlockWork):
            patch.setattr(work, "__call__", None)  # nothing is left to do for workers
        assert parts.gather().code == saeviz.ExitCode.PARTIAL
    assert "score: up to date" in parts.part(1).err
    parts.assert_same_scores(expected)
