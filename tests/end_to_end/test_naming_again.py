"""A labeler behind a web service is asked again about a feature of a served run, with the service's real library."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pandas as pd
import pytest

import saeviz
from saeviz.testing.vlm_server import KEY, VLMServer, fails, says
from tests.conftest import FAKE_RUN, FAKES, run_process
from tests.service import Served
from tests.waiting import wait_until

pytest.importorskip("openai")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service():
    service = VLMServer(otherwise=says())
    yield service
    service.close()


@pytest.fixture(scope="module")
def finished(service, tmp_path_factory):
    """A folder with a run file and the run, which each test copies."""
    labeler = (
        f'use = "openai"\napi_key = {{ env = "MY_SECRET" }}\nbase_url = "{service.url("openai")}"\nmax_retries = 0\n'
    )
    folder = tmp_path_factory.mktemp("finished")
    text = FAKE_RUN.replace('use = "fake-labeler"', labeler) + "[selector]\nlimit = 4\n"
    (folder / "fake.toml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MY_SECRET", KEY)
        saeviz.run(folder / "fake.toml")
    return folder


@pytest.fixture
def server(service):
    service.otherwise = says()
    return service


@pytest.fixture
def run_file(finished, server, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path / "fake.toml"


@pytest.fixture
def served(run_file, monkeypatch):
    monkeypatch.setenv("MY_SECRET", KEY)
    served = Served("runs/fake", "--plugins", FAKES, "--labeler", "fake.toml", token=None, cwd=run_file.parent)
    yield served
    said = served.stop()
    assert "Traceback" not in said
    assert KEY not in said


@pytest.fixture
def client(served):
    with httpx.Client(base_url=served.url, trust_env=False, timeout=60, headers={"Origin": served.url}) as client:
        yield client


def opened(run_file):
    return saeviz.open_run(run_file.parent / "runs" / "fake", plugins=[FAKES])


def again(client, feature):
    return client.post("/api/relabel", params={"feature": str(feature)})


def test_the_new_label_is_kept_as_if_the_run_had_asked_for_it(client, server, run_file, saeviz_command):
    run = opened(run_file)
    feature, n = run.selected[0].feature, len(server.asked)
    assert client.get("/api/run").json()["can_name_again"] is True
    server.otherwise = says(label="blue circles")
    answer = again(client, feature)
    assert answer.status_code == 200, answer.text
    assert answer.json()["label"]["label"] == "blue circles"
    assert [one["label"] for one in answer.json()["label"]["earlier"]] == ["red rectangles"]
    assert len(server.asked) == n + 1
    assert client.get("/api/notes").json()["labels"][str(feature)]["label"] == "blue circles"
    now = opened(run_file)
    assert now.labels[feature].label == "blue circles"
    assert pd.read_csv(now.dir / "selected.csv")["label"].tolist() == ["blue circles"] + ["red rectangles"] * 3
    server.otherwise = says(label="green lines")
    earlier = again(client, feature).json()["label"]["earlier"]
    assert [one["label"] for one in earlier] == ["red rectangles", "blue circles"]
    done = saeviz_command("run", run_file)
    assert done.code == saeviz.ExitCode.DONE, done
    assert len(server.asked) == n + 2, "the run asks about nothing again"
    lines = [json.loads(line) for line in (now.dir / "labels.jsonl").read_text().splitlines()]
    assert lines[-1]["label"] == "green lines"
    assert [one["label"] for one in lines[-1]["earlier"]] == ["red rectangles", "blue circles"]
    assert f"{feature}\tgreen lines\n" in (now.dir / "reporter" / "report.txt").read_text()


def test_a_failure_is_a_sentence_and_changes_nothing(client, server, run_file):
    run = opened(run_file)
    feature = run.selected[0].feature
    before = {path: path.read_bytes() for path in run.dir.rglob("*") if path.is_file() and "usage" not in path.name}
    server.otherwise = fails(500, f"out of order, key {KEY}")
    answer = again(client, feature)
    assert answer.status_code == 422
    assert "out of order" in answer.json()["error"]
    assert KEY not in answer.text
    other = next(str(run.spaces[0].feature(i)) for i in range(40) if run.spaces[0].feature(i) not in run.labels)
    assert "was not selected" in again(client, other).json()["error"]
    assert {path: path.read_bytes() for path in before} == before


def test_one_at_a_time_and_not_while_a_run_works(client, server, run_file, saeviz_command):
    first, second = (chosen.feature for chosen in opened(run_file).selected[:2])
    n = len(server.asked)
    server.otherwise = lambda asked: replace(says(label="blue circles")(asked), seconds=2.0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(again, client, first)
        wait_until(lambda: len(server.asked) > n)
        refused = again(client, second)
        assert refused.status_code == 409
        assert f"is being asked about {first}" in refused.json()["error"]
        assert "another run is working" in saeviz_command("run", run_file).err
        assert waiting.result().status_code == 200


def test_a_received_run_does_not_say_where_the_key_goes(run_file, server, monkeypatch):
    manifest = run_file.parent / "runs" / "fake" / "run.json"
    stolen = VLMServer(otherwise=says())
    try:
        manifest.write_text(manifest.read_text().replace(server.url("openai"), stolen.url("openai")))
        monkeypatch.setenv("MY_SECRET", KEY)
        served = Served("runs/fake", "--plugins", FAKES, "--labeler", "fake.toml", token=None, cwd=run_file.parent)
        with httpx.Client(base_url=served.url, trust_env=False, timeout=60, headers={"Origin": served.url}) as client:
            assert again(client, opened(run_file).selected[0].feature).status_code == 200
        served.stop()
        assert stolen.asked == []
    finally:
        stolen.close()


def test_a_grant_that_cannot_work_is_refused_at_once(run_file, tmp_path):
    def refused(*arguments, **environment):
        return run_process("serve", "runs/fake", "--port", "0", *arguments, cwd=tmp_path, **environment).err

    assert "MY_SECRET" in refused("--labeler", "fake.toml")
    (tmp_path / "none.toml").write_text(FAKE_RUN.replace('use = "fake-labeler"', 'use = "none"'))
    assert "has no [labeler]" in refused("--labeler", "none.toml")
    assert "--api names nothing" in refused("--labeler", "fake.toml", "--api", SAEVIZ_TOKEN="x" * 20)
