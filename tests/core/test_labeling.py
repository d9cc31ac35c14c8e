"""The stage `label` with labelers that work in threads, cost something, pause, or fail for good."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from threading import Barrier, Event, Lock

import pytest

import saeviz
from saeviz.formats.labels import LABELS
from saeviz.formats.lines import FeatureLines
from saeviz.pipeline.run import Plan
from saeviz.pipeline.threads import outcomes
from tests.conftest import FAKE_RUN, FAKES
from tests.waiting import PATIENCE, wait_until

PLUGIN = """
import json
import time
from pathlib import Path
from threading import Lock

from pydantic import Field

import saeviz


class Options(saeviz.Options):
    style: str = Field("plain", description="changes the names")
    budget: int = Field(10**6, description="calls", **saeviz.NEUTRAL)
    wrong_key_after: int = Field(10**6, description="calls", **saeviz.NEUTRAL)
    seconds: float = Field(0.0, description="a call", **saeviz.NEUTRAL)
    hangs_after: int = Field(10**6, description="calls", **saeviz.NEUTRAL)
    is_ready: bool = Field(True, description="whether all is there", **saeviz.NEUTRAL)

    def check_ready(self, context):
        if not self.is_ready:
            raise saeviz.ConfigError("labeler: set the key first")


class Threads:
    concurrency = 3

    def __init__(self, options, context):
        self.options, self.lock = options, Lock()
        self.calls = self.at_once = self.most_at_once = 0
        self.file = context.workdir.parent / "labels.jsonl"
        self.lines_seen = []

    def estimate(self, requests):
        return saeviz.Usage(len(requests), 10 * len(requests), 100 * len(requests), len(requests))

    @property
    def usage(self):
        return saeviz.Usage(self.calls, 10 * self.calls, 100 * self.calls, self.calls)

    def label(self, request):
        with self.lock:
            if self.calls >= self.options.budget:
                raise saeviz.PausedError(f"the budget of {self.options.budget} calls is used up")
            if self.calls >= self.options.wrong_key_after:
                raise saeviz.ConfigError("labeler.api_key: wrong")
            self.calls += 1
            number = self.calls
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.lines_seen.append(len(self.file.read_text().splitlines()))
        time.sleep(3600 if number > self.options.hangs_after else self.options.seconds * (1 + number % 3))
        with self.lock:
            self.at_once -= 1
            LOG.append(self)
        return saeviz.FeatureLabel(f"{self.options.style} {request.feature.index}")


LOG = []


@saeviz.hookimpl
def saeviz_labelers():
    yield saeviz.LabelerSpec(name="threads", summary="for a test", options=Options, factory=Threads)
"""


@pytest.fixture
def threads_run(tmp_path):
    """A run file whose labeler works in threads."""
    (tmp_path / "threads.py").write_text(PLUGIN)
    text = FAKE_RUN.replace('use = "fake-labeler"', 'use = "threads"').replace(
        'use = ["module:saeviz.testing.fakes"]', f'use = ["{FAKES}", "./threads.py"]'
    )
    path = tmp_path / "fake.toml"
    path.write_text(text)
    return path


def labels_of(run: saeviz.Run) -> list[saeviz.Feature]:
    return list(LABELS.read(run.dir / "labels.jsonl"))


def test_names_are_made_in_threads_kept_at_once_and_put_in_order(threads_run, monkeypatch):
    made = []
    append = FeatureLines.append

    def append_and_note(lines, path, line):
        made.append(line)
        append(lines, path, line)

    monkeypatch.setattr(FeatureLines, "append", append_and_note)
    run = saeviz.run(threads_run, settings=["labeler.seconds=0.02"])
    assert [line.feature for line in made] != [one.feature for one in run.selected], "they were ready in another order"
    assert labels_of(run) == [one.feature for one in run.selected]
    record = run.manifest["stages"]["label"]
    n = len(run.selected)
    assert record["usage"] == {"calls": n, "images": 10 * n, "input_tokens": 100 * n, "output_tokens": n}
    assert record["counts"] == {"labeled": n, "new": n}


@pytest.mark.slow
def test_a_pause_keeps_what_is_there_and_the_next_run_goes_on(saeviz_command, threads_run):
    paused = saeviz_command("run", threads_run, "--set", "labeler.budget=4")
    assert paused.code == saeviz.ExitCode.PARTIAL
    run = saeviz.open_run(threads_run.parent / "runs" / "fake")
    n = len(run.selected)
    assert len(run.labels) == 4
    (failure,) = run.failures
    assert failure.subject == f"{n - 4} features"
    assert "the budget of 4 calls is used up" in failure.error
    assert paused.err.count("budget") == 1
    assert (run.dir / "report" / "report.txt").exists() or list(run.dir.rglob("report.txt")), "the report is made"
    before = dict(run.labels)
    assert saeviz_command("run", threads_run).code == saeviz.ExitCode.DONE
    run = saeviz.open_run(run.dir)
    assert len(run.labels) == n
    assert before.items() <= run.labels.items()
    assert run.manifest["stages"]["label"]["counts"]["new"] == n - 4
    (report,) = run.dir.rglob("report.txt")
    assert all(label.label in report.read_text() for label in run.labels.values()), "the report has the new names"


@pytest.mark.slow
def test_a_wrong_key_stops_at_once_and_keeps_what_is_there(saeviz_command, threads_run):
    stopped = saeviz_command("run", threads_run, "--set", "labeler.wrong_key_after=2", "--set", "labeler.seconds=0.05")
    assert stopped.code == saeviz.ExitCode.USAGE
    assert stopped.err.count("labeler.api_key: wrong") == 1
    run = saeviz.open_run(threads_run.parent / "runs" / "fake")
    assert len(run.labels) == 2, "names under way are kept"
    assert run.failures == []
    assert "finished" not in run.manifest["stages"]["label"]
    assert saeviz_command("run", threads_run).code == saeviz.ExitCode.DONE


@pytest.mark.slow
def test_options_that_only_tune_make_no_name_anew(threads_run):
    saeviz.run(threads_run)
    again = saeviz.run(threads_run, settings=["labeler.seconds=0.001", "labeler.budget=0"])
    assert again.failures == []
    changed = saeviz.run(threads_run, settings=["labeler.style=new"])
    assert all(label.label.startswith("new ") for label in changed.labels.values())


@pytest.mark.slow
def test_redo_makes_every_name_anew(threads_run):
    run = saeviz.run(threads_run)
    n = len(run.selected)
    assert saeviz.run(threads_run).manifest["stages"]["label"]["counts"]["new"] == n, "nothing was done"
    (run.dir / "labels.jsonl").write_text("nonsense\n")
    with pytest.raises(saeviz.RunDirError, match="--redo label"):
        _ = saeviz.open_run(run.dir).labels
    again = saeviz.run(threads_run, plan=Plan(redo=["label"]))
    assert len(again.labels) == n


@pytest.mark.slow
def test_labels_that_are_made_anew_keep_those_before_them(threads_run):
    """Also what a labeler said when it was asked again about a single feature."""
    run = saeviz.run(threads_run)
    path, old = run.dir / "labels.jsonl", saeviz.FeatureLabel("first words", "an older label")
    first, *others = LABELS.read(path).values()
    LABELS.write(path, [first._replace(earlier=(old,)), *others])
    saeviz.run(threads_run, plan=Plan(redo=["label"]))
    same = LABELS.read(path)
    assert same[first.feature].earlier == (old,), "the same label is not kept twice"
    assert not any(same[line.feature].earlier for line in others)
    saeviz.run(threads_run, settings=["labeler.style=new"])
    assert [one.label for one in LABELS.read(path)[first.feature].earlier] == ["first words", first.label.label]
    assert all(LABELS.read(path)[line.feature].earlier == (line.label,) for line in others)


@pytest.mark.slow
def test_what_is_missing_is_told_before_anything_is_done(saeviz_command, threads_run):
    unready = ("--set", "labeler.is_ready=false")
    for command in ("run", "check"):
        refused = saeviz_command(command, threads_run, *unready)
        assert refused.code == saeviz.ExitCode.USAGE
        assert "set the key first" in refused.err
    assert not list((threads_run.parent / "runs").rglob("*.npz"))
    assert saeviz_command("run", threads_run, *unready, "--until", "select").code == saeviz.ExitCode.DONE


def snapshot(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_dry_run_says_what_it_would_cost_and_does_nothing(saeviz_command, threads_run):
    fresh = saeviz_command("run", threads_run, "--dry-run")
    assert fresh.code == saeviz.ExitCode.DONE
    assert "extract  would run" in fresh.out
    assert "--until select" in fresh.out
    assert not (threads_run.parent / "runs").exists()
    saeviz_command("run", threads_run, "--set", "labeler.budget=4")
    run = saeviz.open_run(threads_run.parent / "runs" / "fake")
    before, left = snapshot(run.dir), len(run.selected) - 4
    told = saeviz_command("run", threads_run, "--dry-run", "--set", "labeler.is_ready=false")
    assert "select   up to date" in told.out
    assert f"{left} of {left + 4} features to name with threads: about {left} calls with {10 * left} images" in told.out
    assert f"{100 * left} tokens to send and {left} to receive" in told.out
    assert snapshot(run.dir) == before
    anew = saeviz_command("run", threads_run, "--dry-run", "--redo", "label")
    assert f"{left + 4} of {left + 4} features" in anew.out
    free = saeviz_command("run", threads_run, "--dry-run", "--set", "labeler.use=fake-labeler")
    assert f"{left + 4} of {left + 4} features to name with fake-labeler\n" in free.out
    none = saeviz_command("run", threads_run, "--dry-run", "--set", "labeler.use=none")
    assert "without a labeler" in none.out


@pytest.mark.slow
def test_a_dry_run_of_a_finished_run(saeviz_command, threads_run):
    saeviz_command("run", threads_run)
    told = saeviz_command("run", threads_run, "--dry-run").out
    assert [line.split(maxsplit=1)[1] for line in told.splitlines()] == ["up to date"] * 7


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGINT")
def test_ctrl_c_waits_for_no_answer_and_loses_no_name(threads_run):
    command = [sys.executable, "-m", "saeviz", "run", str(threads_run), "--set", "labeler.hangs_after=4"]
    process = subprocess.Popen(command, cwd=threads_run.parent, stderr=subprocess.PIPE, text=True)
    labels = threads_run.parent / "runs" / "fake" / "labels.jsonl"
    wait_until(lambda: labels.exists() and labels.read_text().count("\n") == 4, lambda: process.poll() is None)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == saeviz.ExitCode.INTERRUPTED, said
    assert "Traceback" not in said
    kept = [json.loads(line) for line in labels.read_text().splitlines()]
    assert len(kept) == 4
    run = saeviz.run(threads_run)
    assert len(run.labels) == len(run.selected)
    assert run.manifest["stages"]["label"]["counts"]["new"] == len(run.selected) - len(kept)


# threads


@pytest.mark.parametrize("n_threads", [1, 2, 7])
def test_outcomes_gives_every_item_once(n_threads):
    def call(number):
        if number % 5 == 0:
            raise ValueError(number)
        return number * 2

    found = dict(outcomes(call, range(40), n_threads, Event()))
    assert sorted(found) == list(range(40))
    for item, future in found.items():
        if item % 5:
            assert future.result() == item * 2
        else:
            with pytest.raises(ValueError, match=str(item)):
                future.result()


def test_outcomes_works_side_by_side_and_stops_when_told():
    lock, at_once, most, stop, together = Lock(), 0, 0, Event(), Barrier(4, timeout=PATIENCE)

    def call(number):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        if number < 4:
            together.wait()
        elif number >= 8:
            stop.wait(PATIENCE)
        with lock:
            at_once -= 1

    seen = []
    for item, _ in outcomes(call, range(1000), 4, stop):
        seen.append(item)
        if len(seen) == 8:
            stop.set()
    assert most == 4
    assert 8 <= len(seen) <= 8 + 4, "what had begun is still given"


def test_leaving_outcomes_waits_for_nothing():
    held, answered = Event(), []

    def call(number):
        if number:
            held.wait(PATIENCE)
        answered.append(number)

    for item, _ in outcomes(call, [0, 1, 1, 1], 3, Event()):
        assert item == 0
        break
    assert answered == [0]
    held.set()


MEASURES = """
import saeviz


class Curious:
    def __init__(self, options, context):
        self.seen = context.workdir / "measures.txt"

    def label(self, request):
        self.seen.parent.mkdir(parents=True, exist_ok=True)
        with self.seen.open("a") as file:
            file.write("".join(f"{relation.measure}\\n" for relation in request.relations))
        return saeviz.FeatureLabel("a name")


@saeviz.hookimpl
def saeviz_labelers():
    yield saeviz.LabelerSpec(name="curious", summary="for a test", factory=Curious)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scorer", "measure"),
    [
        ("{use='pearson-bh'}", "Pearson's r"),
        ("{use='spearman'}", "Spearman's rho"),
        ("{use='point-biserial'}", "point-biserial r"),
        ("{use='pearson-bh', name='mine'}", "Pearson's r"),
        ("{use='spearman', name='mine'}", "Spearman's rho"),
    ],
)
def test_a_labeler_is_told_which_correlation_it_is_shown(fake_run, tmp_path, scorer, measure):
    plugin = tmp_path / "curious.py"
    plugin.write_text(MEASURES)
    settings = ["labeler.use=curious", f"scorers=[{{use='monosemanticity'}}, {scorer}]", "judge.use=none"]
    run = saeviz.run(fake_run, settings=settings, plugins=[FAKES, str(plugin)], plan=Plan(last="label"))
    told = (run.dir / "labeler" / "measures.txt").read_text().splitlines()
    assert set(told) == {measure}
