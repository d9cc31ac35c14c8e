"""A whole run whose names come from a web service, against a server on loopback, with the service's real library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

import saeviz
from saeviz.pipeline.run import Plan
from saeviz.testing.vlm_server import IN, KEY, VLMServer, fails, says, sends
from tests.conftest import FAKE_RUN, run_process
from tests.report_data import report_of
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

pytest.importorskip("google.genai")
N_IMAGES = 24


@pytest.fixture
def server():
    server = VLMServer(otherwise=says())
    yield server
    server.close()


@pytest.fixture
def folder(tmp_path, server, monkeypatch):
    monkeypatch.setenv("MY_SECRET", KEY)
    labeler = f"""
use = "gemini"
api_key = {{ env = "MY_SECRET" }}
base_url = "{server.url("gemini")}"
max_retries = 1
"""
    text = FAKE_RUN.replace('use = "fake-labeler"', labeler).replace('use = "fake-reporter"', 'use = "html"')
    (tmp_path / "fake.toml").write_text(text + "[selector]\nlimit = 12\n")
    return tmp_path


@pytest.fixture
def run(folder, saeviz_command):
    """`saeviz run fake.toml` in this process."""
    return lambda *arguments: saeviz_command("run", "fake.toml", *arguments)


def all_bytes(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_whole_run_in_a_process_of_its_own(folder, server):
    server.otherwise = lambda asked: replace(says()(asked), seconds=0.1)
    settings = ("--set", "labeler.heatmaps=true", "--set", "labeler.contrast_images=2")
    done = run_process("run", "fake.toml", *settings, cwd=folder)
    assert done.code == saeviz.ExitCode.DONE, done
    finished = saeviz.open_run(folder / "runs" / "fake")
    assert {label.label for label in finished.labels.values()} == {"red rectangles"}
    n = len(finished.selected)
    assert len(server.asked) == n > 3
    assert server.most_at_once > 1
    numbers = {text.split(",")[0] for asked in server.asked for text in asked.texts if text.startswith("Feature #")}
    assert numbers == {f"Feature #{one.feature.index}" for one in finished.selected}
    usage = finished.manifest["stages"]["label"]["usage"]
    assert (usage["calls"], usage["input_tokens"]) == (n, n * IN)
    assert usage["images"] == sum(len(asked.jpegs) for asked in server.asked)
    assert finished.manifest["config"]["labeler"]["api_key"] == {"env": "MY_SECRET"}
    assert any("red rectangles" in label for label in report_of(finished).column("label"))


def test_the_key_is_nowhere_whatever_happens(folder, server, run, monkeypatch):
    leaks = [
        fails(500, f"internal error, request had key {KEY}"),
        fails(500, f"internal error, request had key {KEY}"),
        fails(400, f"bad request with {KEY}"),
        sends(f"<html>{KEY}</html>".encode(), status=200),
        sends(f"<html>{KEY}</html>".encode(), status=502),
        sends({"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": KEY}}),
        says(label=f"{KEY} things", description=f"key {KEY}"),
        says(f"not JSON but {KEY}"),
        says(),
        fails(429, f"slow down, {KEY}", Retry_After="1"),
    ]
    server.script = leaks * 2
    done = run("--set", "labeler.concurrency=1")
    assert done.code == saeviz.ExitCode.PARTIAL, done
    assert server.asked[0].key == KEY
    server.otherwise = fails(404, f"no model for {KEY}")
    missing = run("--set", "labeler.model=gemini-0")
    assert missing.code == saeviz.ExitCode.USAGE, missing
    assert missing.err.count("labeler.model") == 1
    monkeypatch.setenv("MY_SECRET", "sk-wrong-4711")
    wrong = run("--redo", "label")
    assert wrong.code == saeviz.ExitCode.USAGE, wrong
    assert "rejects the key" in wrong.err
    everything = all_bytes(folder) + "".join([*map(repr, (done, missing, wrong))]).encode()
    for secret in (KEY, "sk-wrong-4711"):
        assert secret.encode() not in everything
    assert b"Traceback" not in everything


def test_hostile_answers_neither_run_in_the_report_nor_leave_the_directory(folder, server, run):
    script = "</script><script>alert(1)</script>"
    server.otherwise = says(
        label="../../etc <img src=x>", description=script, why=script, visual_elements=[script, "../../x", "\x1b[31m"]
    )
    assert run().code == saeviz.ExitCode.DONE
    report = folder / "runs" / "fake" / "report"
    files = [path.read_text() for path in report.rglob("*") if path.suffix in (".html", ".js")]
    assert any("etc" in file for file in files)
    assert not [file for file in files if "<script>alert" in file or "<img src=x" in file]
    assert b"\x1b[31m" not in (folder / "runs" / "fake" / "labels.jsonl").read_bytes()
    assert {path.name for path in folder.iterdir()} == {"fake.toml", "runs"}


def test_a_budget_over_several_runs(folder, server, run):
    saeviz.run(folder / "fake.toml", plan=Plan(last="select"))
    estimate = run("--dry-run")
    n = int(estimate.out.split("about ")[1].split(" calls")[0])
    assert server.asked == []
    assert f"about {n} calls" in estimate.out
    for budget, n_named in ((2, 2), (2, 2), (5, 5), (n, n), (n, n)):
        finished = saeviz.run(folder / "fake.toml", settings=[f"labeler.max_calls={budget}"])
        assert len(finished.labels) == len(server.asked) == n_named
        assert [failure.subject for failure in finished.failures] == [f"{n - n_named} features"] * (n_named < n)
    assert finished.manifest["stages"]["label"]["usage"]["calls"] == n


JUDGED = ["--set", "judge.use=labeler", "--set", "images.n=60", "--set", "run.top_images=5"]


def test_names_are_judged_by_the_service_within_the_same_budget(folder, server, run):
    paused = run(*JUDGED, "--set", "labeler.max_calls=15")
    assert paused.code == saeviz.ExitCode.PARTIAL, paused
    assert len(server.asked) == 15
    estimate = run(*JUDGED, "--dry-run")
    n_left = int(estimate.out.split("to judge with gemini: about ")[1].split(" calls")[0])
    done = run(*JUDGED)
    assert done.code == saeviz.ExitCode.DONE, done
    finished = saeviz.open_run(folder / "runs" / "fake", plugins=["module:saeviz.testing.fakes"])
    questions = [asked for asked in server.asked if asked.is_for_judge()]
    assert len(finished.labels) == len(server.asked) - len(questions) == 12
    n_judged = int(finished.judgements["balanced_accuracy"].notna().sum())
    assert n_judged >= 8
    assert 15 + n_left - 1 <= len(server.asked) <= 15 + n_left, (
        "the estimate holds; one label was cut in two by the pause"
    )
    assert {asked.words() for asked in questions} == {"red rectangles"}
    colour_of = {item.item_id: item.metadata["colour"] for item in finished.items}
    lines = (finished.dir / "judgements.jsonl").read_text().splitlines()
    images = [image for line in lines for image in json.loads(line)["images"]]
    assert all(image["score"] == (colour_of[image["item_id"]] == "red") for image in images)
    assert finished.manifest["stages"]["judge"]["usage"]["calls"] == len(server.asked)
    assert KEY.encode() not in all_bytes(folder)


def test_names_are_scored_by_the_service_on_held_out_images(folder, server, run):
    (folder / "fake.toml").write_text(
        (folder / "fake.toml").read_text().replace('use = "pearson-bh"', 'use = "pearson-bh"\nsplit = 0.5')
    )
    on = [*JUDGED, "--set", "run.rating_images=20"]
    estimate = run(*on, "--until", "judge")
    assert estimate.code == saeviz.ExitCode.DONE, estimate
    before = len(server.asked)
    estimate = run(*on, "--dry-run")
    n_calls = int(estimate.out.split("to score on 20 held-out images with gemini: about ")[1].split(" calls")[0])
    assert len(server.asked) == before
    paused = run(*on, "--set", f"labeler.max_calls={before + 7}", "--set", "labeler.concurrency=1")
    assert paused.code == saeviz.ExitCode.PARTIAL, paused
    done = run(*on)
    assert done.code == saeviz.ExitCode.DONE, done
    questions = server.asked[before:]
    assert all(asked.is_for_judge() for asked in questions)
    finished = saeviz.open_run(folder / "runs" / "fake", plugins=["module:saeviz.testing.fakes"])
    assert n_calls == 2 * len(finished.labels) == len(questions) - 1, "twelve and eight images; one pair cut in two"
    assert sum(len(asked.jpegs) for asked in questions) == 20 * len(finished.labels) + 12
    colour_of = {item.item_id: item.metadata["colour"] for item in finished.items}
    for line in (finished.dir / "label_scores.jsonl").read_text().splitlines():
        scores = json.loads(line)["scores"]
        assert len(scores) == 20
        assert all(score == (colour_of[item_id] == "red") for item_id, score in scores.items())
    warmth = finished.label_ratings.query("rating == 'warmth'")
    assert (warmth["r"] > 0.4).all()
    cards = [report_of(finished).card(feature) for feature in finished.labels]
    found = [one["r"] for card in cards for one in card["predicts"] if one["rating"] == "warmth"]
    assert sorted(found) == sorted(warmth["r"])
    assert "Does the name predict the rating?" in report_of(finished).reading


def test_another_service_judges_with_a_key_of_its_own(folder, server, run, monkeypatch):
    other = f"{{ use = 'gemini', api_key = {{ env = 'OTHER_SECRET' }}, base_url = '{server.url('gemini')}' }}"
    text = (folder / "fake.toml").read_text()
    (folder / "fake.toml").write_text(f"judge = {other}\n{text}")
    monkeypatch.setenv("OTHER_SECRET", "sk-not-this-one")
    done = run(*JUDGED[2:])
    assert done.code == saeviz.ExitCode.USAGE, done
    assert "judge.api_key: Gemini rejects the key" in done.err
    assert len(saeviz.open_run(folder / "runs" / "fake").labels) == 12, "the names are kept"
    monkeypatch.setenv("OTHER_SECRET", KEY)
    done = run(*JUDGED[2:])
    assert done.code == saeviz.ExitCode.DONE, done
    finished = saeviz.open_run(folder / "runs" / "fake")
    usage = {name: finished.manifest["stages"][name].get("usage") for name in ("label", "judge")}
    assert usage["judge"]["calls"] == sum(asked.is_for_judge() and asked.key == KEY for asked in server.asked)
    everything = all_bytes(folder) + repr(done).encode()
    assert KEY.encode() not in everything
    assert b"sk-not-this-one" not in everything


def test_killed_while_asking(folder, server, run):
    command = [sys.executable, "-m", "saeviz", "run", "fake.toml", "--set", "labeler.concurrency=2"]
    allowed = SimpleNamespace(n=4)

    def answer(asked):
        wait_until(lambda: len(server.asked) < allowed.n)
        return says()(asked)

    server.otherwise = answer
    for _ in range(2):
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "MY_SECRET": KEY},
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        wait_until(lambda: len(server.asked) >= allowed.n, lambda process=process: process.poll() is None)
        process.kill()
        process.wait()
        allowed.n = len(server.asked) + 4
    allowed.n = 10**6
    done = run("--set", "labeler.concurrency=2")
    assert done.code == saeviz.ExitCode.DONE, done
    finished = saeviz.open_run(folder / "runs" / "fake")
    n = len(finished.selected)
    lines = [json.loads(line) for line in (finished.dir / "labels.jsonl").read_text().splitlines()]
    assert len(lines) == n
    assert len(server.asked) <= n + 2 * 2, "no more is asked twice than was under way"
