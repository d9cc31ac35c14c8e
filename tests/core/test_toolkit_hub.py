"""Model files from folders and from a hub: a small server of our own on this machine."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from saeviz import Context, DataError
from saeviz.testing.loopback import Loopback
from saeviz.toolkit.hub import commit_of, fetch
from tests import hub_server
from tests.hub_server import COMMIT

pytest.importorskip("huggingface_hub")

NAMES = ["weights.pt", "weights_2.pt"]


class Hub:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.server = Loopback(hub_server.Hub, root=root)
        self.url = self.server.url

    def add(self, repo: str, **files: str) -> None:
        folder = self.root / repo
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / f"{name}.pt").write_text(content)

    def stop(self) -> None:
        self.server.close()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    from huggingface_hub import constants

    (tmp_path / "served").mkdir()
    hub = Hub(tmp_path / "served")
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    yield hub
    hub.stop()


def get(source, names=NAMES, *, offline=False, revision="main", needed=""):
    return fetch(
        source, names, context=Context(offline=offline), revision=revision, option="extractor.saes.7", needed=needed
    )


# -- on this machine ----------------------------------------------------------------------------------------------


def test_the_first_name_that_a_folder_holds(tmp_path):
    (tmp_path / "weights_2.pt").touch()
    assert get(tmp_path) == tmp_path / "weights_2.pt"
    (tmp_path / "weights.pt").touch()
    assert get(str(tmp_path)) == tmp_path / "weights.pt"


def test_a_file_is_taken_as_it_is(tmp_path):
    (tmp_path / "mine.bin").touch()
    assert get(tmp_path / "mine.bin") == tmp_path / "mine.bin"


def test_a_relative_folder_wins_over_a_hub_id(tmp_path, monkeypatch):
    (tmp_path / "owner" / "name").mkdir(parents=True)
    (tmp_path / "owner" / "name" / "weights.pt").touch()
    monkeypatch.chdir(tmp_path)
    assert get("owner/name").is_file()


def test_a_folder_without_the_file(tmp_path):
    with pytest.raises(DataError, match=r"extractor\.saes\.7: .* has no weights\.pt or weights_2\.pt"):
        get(tmp_path)


@pytest.mark.parametrize("source", ["./a/b", "/a/b", "~/a", "a", "a/b/c", Path("owner/name"), "a\\b"])
def test_what_looks_like_a_path_is_not_asked_of_the_hub(source, hub):
    hub.stop()
    with pytest.raises(DataError, match=r"extractor\.saes\.7: no file or folder"):
        get(source)


# -- on the hub ---------------------------------------------------------------------------------------------------


def test_a_file_of_the_hub_and_its_commit(hub):
    hub.add("owner/name", weights_2="two")
    path = get("owner/name")
    assert path.read_text() == "two"
    assert commit_of(path) == COMMIT
    assert commit_of(hub.root / "owner/name/weights_2.pt") is None


def test_what_was_fetched_once_is_there_without_the_hub(hub):
    hub.add("owner/name", weights_2="two")
    first = get("owner/name")
    hub.stop()
    assert get("owner/name") == get("owner/name", offline=True) == get("owner/name", revision=COMMIT) == first


def test_a_commit_pins(hub):
    hub.add("owner/name", weights="one")
    assert commit_of(get("owner/name", revision=COMMIT)) == COMMIT
    with pytest.raises(DataError, match=r"owner/name.*weights\.pt.*cannot be downloaded"):
        get("owner/name", revision="f" * 40)


def test_a_repository_without_the_file(hub):
    hub.add("owner/name", other="x")
    with pytest.raises(DataError, match=r"owner/name at revision main has no weights\.pt or weights_2\.pt"):
        get("owner/name")


def test_no_such_repository(hub):
    with pytest.raises(
        DataError, match=r"owner/nobody is not a local folder, and weights\.pt .* cannot be downloaded from the hub"
    ):
        get("owner/nobody")


def test_the_hub_is_down(hub):
    hub.stop()
    with pytest.raises(DataError) as caught:
        get("owner/name", needed="config.json and weights.pt")
    text = str(caught.value)
    assert "the hub cannot be reached" in text
    assert "download config.json and weights.pt from https://huggingface.co/owner/name" in text
    assert text.endswith("and set extractor.saes.7 to the folder")


def test_offline_asks_nobody(hub):
    hub.add("owner/name", weights="one")
    with pytest.raises(DataError, match=r"not in the hub's cache, and run.offline is set"):
        get("owner/name", offline=True)


def test_an_id_that_the_hub_would_not_accept():
    with pytest.raises(DataError, match=r"extractor\.saes\.7: owner/na me is not a local folder"):
        get("owner/na me")


@pytest.mark.parametrize(
    ("status", "headers", "parts"),
    [
        (
            403,
            {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to owner/name is restricted."},
            ["gated (403: Access to owner/name is restricted.", "accept its licence on", "/owner/name", "set HF_TOKEN"],
        ),
        (
            401,
            {"X-Error-Code": "GatedRepo", "X-Error-Message": "Please log in."},
            ["gated (401: Please log in.", "HF_TOKEN"],
        ),
        (
            401,
            {"X-Error-Message": "Invalid credentials in Authorization header"},
            ["401", "Invalid credentials", "HF_TOKEN"],
        ),
        (
            404,
            {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"},
            ["no such repository", "spelling"],
        ),
        (
            429,
            {"Retry-After": "7", "X-Error-Message": "Slow down."},
            ["too many requests to the hub (429: Slow down.", "in 7 seconds"],
        ),
        (429, {}, ["too many requests to the hub (429", "in a few minutes"]),
        (
            500,
            {"X-Error-Message": "Internal trouble"},
            ["the hub has an internal error (500: Internal trouble", "later"],
        ),
        (503, {}, ["the hub has an internal error (503", "later"]),
    ],
)
def test_the_hubs_own_sentence_is_passed_on(hub, status, headers, parts):
    hub.add("owner/name", weights="one")
    (hub.root / "owner" / "name" / "answer.json").write_text(json.dumps({"status": status, "headers": headers}))
    with pytest.raises(DataError) as caught:
        get("owner/name")
    for part in [*parts, "extractor.saes.7: owner/name is not a local folder", "or download weights.pt"]:
        assert part in str(caught.value)
    assert "cannot be reached" not in str(caught.value)


def test_a_revision_that_there_is_not(hub):
    hub.add("owner/name", weights="one")
    with pytest.raises(DataError, match=r"the repository has no such revision \(404"):
        get("owner/name", revision="f" * 40)
