"""Store, images and embeddings `http`, against a real `saeviz serve --api` on loopback."""

from __future__ import annotations

import gzip
import json
import logging
import threading
import time
import traceback

import numpy as np
import pytest

import saeviz
from saeviz.testing import EmbeddingProviderContract, FeatureStoreContract, ImageProviderContract
from saeviz.testing.data import HOSTILE_IDS, random_batch
from saeviz.testing.images import known_of
from saeviz.testing.stores import assert_same, read_all, rows_are_equal, versioned, versioned_row
from saeviz.toolkit.wire import pack_features
from saeviz_http import HttpOptions
from saeviz_http.embeddings import HttpEmbeddings
from saeviz_http.images import HttpImages
from saeviz_http.store import HttpStore
from tests.conftest import FAKE_RUN, FAKES
from tests.service import TOKEN, Served, answering, send
from tests.waiting import PATIENCE, wait_until

SPACE = saeviz.FeatureSpace(11, "cls", 50)


def options(url: str, **more) -> HttpOptions:
    return HttpOptions(url=url, **{"token": TOKEN, "retries": 0, **more})


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A service of an empty store."""
    served = Served("--api", f"npz:{tmp_path_factory.mktemp('served')}", "--set", "store.shard_rows=16")
    yield served
    assert "Traceback" not in served.stop()


@pytest.fixture(scope="module")
def of_a_run(tmp_path_factory):
    """A service of a run with 24 images, of which one cannot be read and two are not rated."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "fake.toml").write_text(FAKE_RUN.replace("n = 24", "n = 24\nbroken = 1\nunrated = 2"))
    saeviz.run(folder / "fake.toml")
    served = Served("--api", folder / "runs" / "fake", "--plugins", FAKES)
    served.run = saeviz.open_run(folder / "runs" / "fake", plugins=[FAKES])
    yield served
    assert "Traceback" not in served.stop()


class TestStore(FeatureStoreContract):
    component = HttpStore
    most_items_per_batch = 256

    @pytest.fixture
    def open_store(self, stored):
        HttpStore(options(stored.url), saeviz.Context()).clear()
        return lambda: HttpStore(options(stored.url), saeviz.Context())


class TestImages(ImageProviderContract):
    component = HttpImages
    n_images = 24

    @pytest.fixture
    def provider(self, of_a_run):
        return HttpImages(options(of_a_run.url), saeviz.Context())


class TestEmbeddings(EmbeddingProviderContract):
    component = HttpEmbeddings

    @pytest.fixture
    def make(self, of_a_run):
        return lambda context: HttpEmbeddings(options(of_a_run.url), context)


def test_the_images_are_those_of_the_run(of_a_run):
    images = HttpImages(options(of_a_run.url), saeviz.Context())
    there = of_a_run.run._session.dataset.items
    assert [known_of(item)[:4] for item in images.iter_images()] == [known_of(item)[:4] for item in there]
    assert [item.fingerprint for item in images.iter_images()] == [item.fingerprint for item in there]
    assert images.get_image("picture/3").open().tobytes() == there[3].open().tobytes()


def test_embeddings_are_those_of_the_run(of_a_run):
    from saeviz.testing.fakes import FakeEmbeddings, Slow

    items = of_a_run.run.items
    embedder = HttpEmbeddings(options(of_a_run.url), saeviz.Context())
    assert np.array_equal(embedder.embed(items), FakeEmbeddings(Slow(), saeviz.Context()).embed(items))
    assert embedder.provenance["service"] == of_a_run.url
    assert embedder.provenance["embedder"]["use"] == "fake-embeddings"


def test_a_picture_that_is_drawn_is_sent_too(of_a_run):
    from PIL import Image

    embedder = HttpEmbeddings(options(of_a_run.url), saeviz.Context())
    drawn = saeviz.ImageItem("drawn", lambda: Image.new("CMYK", (8, 8), (0, 255, 0, 0)))
    assert np.isfinite(embedder.embed([drawn])).all()


def test_the_features_of_a_run_are_read_and_not_written(of_a_run):
    store = HttpStore(options(of_a_run.url), saeviz.Context())
    space = of_a_run.run.spaces[0]
    assert store.spaces() == of_a_run.run.spaces
    assert_same(read_all(store, space), of_a_run.run.features(space))
    for attempt in (lambda: store.write(random_batch(space, ["x"])), store.clear):
        with pytest.raises(saeviz.ConfigError, match="features of a run, which only the run itself writes"):
            attempt()


def test_a_whole_run_with_a_service_for_everything(of_a_run, stored, tmp_path, monkeypatch):
    """Its features, scores and labels are those of the run that is served."""
    HttpStore(options(stored.url), saeviz.Context()).clear()
    monkeypatch.setenv("THE_TOKEN", TOKEN)
    here = {"use": "http", "url": of_a_run.url, "token": {"env": "THE_TOKEN"}}
    tables = {
        "run": {"dir": str(tmp_path / "run")},
        "images": here,
        "extractor": {"use": "fake-extractor"},
        "store": {**here, "url": stored.url},
        "embeddings": here,
        "labeler": {"use": "fake-labeler"},
        "scorers": [{"use": "monosemanticity", "draws": 0}, {"use": "pearson-bh"}],
        "reporters": [],
        "plugins": {"use": ["module:saeviz.testing.fakes"]},
    }
    run = saeviz.run(tables)
    expected = of_a_run.run
    assert_same(run.features(run.spaces[0]), expected.features(run.spaces[0]))
    assert run.scores.equals(expected.scores)
    assert run.correlations.equals(expected.correlations)
    assert [failure.subject for failure in run.failures] == ["picture/23"]
    assert run.manifest["stages"]["embed"]["provenance"]["service"] == of_a_run.url
    written = b"".join(path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert TOKEN.encode() not in written
    assert b"THE_TOKEN" in written


def test_a_run_moves_to_a_service_and_back(stored, fake_run, saeviz_command, monkeypatch):
    monkeypatch.setenv("THE_TOKEN", TOKEN)
    HttpStore(options(stored.url), saeviz.Context()).clear()
    run = saeviz.run(fake_run)
    token = '{ env = "THE_TOKEN" }'
    moved = saeviz_command("store", "copy", run.dir, f"http:{stored.url}", "--set", f"to.token={token}")
    assert moved.code == saeviz.ExitCode.DONE, moved
    assert f"token = {token}" in moved.err
    assert TOKEN not in moved.err + moved.out
    saeviz.run(fake_run, settings=["store.use=http", f"store.url={stored.url}", f"store.token={token}"])
    log = (run.dir / "log.txt").read_text()
    assert log.count("extract: up to date") == log.count("report: up to date") == 1
    run = saeviz.run(
        fake_run, settings=["store.use=http", f"store.url={stored.url}", f"store.token={token}", "images.n=25"]
    )
    back = saeviz_command("store", "copy", run.dir, "json:back", "--json", "--online", "--secret", "THE_TOKEN")
    assert [space["items"] for space in back.json()["spaces"]] == [25, 25]


def test_a_large_batch_is_sent_in_parts(stored, monkeypatch):
    store = HttpStore(options(stored.url), saeviz.Context())
    store.clear()
    sizes = []
    original = store._client.send
    monkeypatch.setattr(
        store._client, "send", lambda *given, **more: sizes.append(len(given[2])) or original(*given, **more)
    )
    monkeypatch.setattr(store._client, "most_bytes", 8192)
    batch = random_batch(SPACE, [f"item {number}" for number in range(300)])
    store.write(batch)
    assert len(sizes) > 3
    assert max(sizes) <= 8192
    monkeypatch.undo()
    assert_same(read_all(store, SPACE), batch)


# ---- crashes


def test_a_server_that_is_killed_while_a_client_writes_loses_nothing(tmp_path):
    """Killed with SIGKILL three times and started again, while one client goes on writing."""
    served = Served("--api", f"npz:{tmp_path / 'store'}")
    port = served.port
    written: list[int] = []
    failures: list[BaseException] = []
    enough = threading.Event()

    def write():
        store = HttpStore(options(served.url, retries=20), saeviz.Context())
        try:
            while not enough.is_set():
                number = len(written)
                store.write(versioned(SPACE, ids_of(number), version=number))
                written.append(number)
        except BaseException as error:  # noqa: BLE001 - told in the test's own thread
            failures.append(error)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for _ in range(3):
            before = len(written)
            wait_until(lambda before=before: len(written) >= before + 3 or not writing.is_alive())
            served.stop(kill=True)
            served = Served("--api", f"npz:{tmp_path / 'store'}", port=port)
    finally:
        enough.set()
        writing.join(timeout=PATIENCE)
    assert not failures
    served.stop(kill=True)

    from saeviz_npz import NpzOptions
    from saeviz_npz.store import NpzStore

    last = {item_id: number for number in written for item_id in ids_of(number)}
    kept = read_all(NpzStore(NpzOptions(path=tmp_path / "store"), saeviz.Context()), SPACE)
    assert sorted(kept.item_ids) == sorted(last)
    for row, item_id in enumerate(kept.item_ids):
        assert rows_are_equal(kept, row, versioned_row(item_id, last[item_id])), item_id


def ids_of(number: int) -> list[str]:
    return [f"item {(number * 5 + k) % 40}" for k in range(8)]


def test_a_run_whose_service_dies_goes_on_later(tmp_path, fake_run):
    served = Served("--api", f"npz:{tmp_path / 'store'}", token=None)
    settings = ["store.use=http", f"store.url={served.url}", "store.retries=1", "extractor.seconds_per_item=0.03"]
    killer = threading.Timer(0.35, lambda: served.stop(kill=True))
    killer.start()
    with pytest.raises(
        saeviz.DataError, match=r"cannot be used after 2 tries.*the same command resumes where it stopped"
    ):
        saeviz.run(fake_run, settings=settings)
    killer.join()
    served = Served("--api", f"npz:{tmp_path / 'store'}", token=None, port=served.port)
    run = saeviz.run(fake_run, settings=settings)
    assert len(run.features(run.spaces[0]).item_ids) == 24
    assert "extract: 24 of 24 images to do" in (run.dir / "log.txt").read_text()
    served.stop()


# ---- what goes wrong


def everything_about(error: BaseException, caplog) -> str:
    return "".join(traceback.format_exception(error)) + caplog.text + repr(error)


@pytest.mark.parametrize("token", [None, "wrong-token-of-some-length"])
def test_the_wrong_token_is_refused_and_told_nowhere(stored, caplog, token):
    caplog.set_level(logging.DEBUG)
    store = HttpStore(options(stored.url, token=token, retries=3), saeviz.Context())
    with pytest.raises(saeviz.ConfigError, match=r"store\.token: .* (needs a token|rejects this token)") as caught:
        store.spaces()
    assert "wrong-token" not in everything_about(caught.value, caplog)


def test_a_token_is_in_no_message_log_or_repr(caplog):
    caplog.set_level(logging.DEBUG)
    given = options("http://127.0.0.1:9", retries=1)
    store = HttpStore(given, saeviz.Context())
    with pytest.raises(saeviz.DataError, match=r"cannot be used after 2 tries: no connection") as caught:
        store.spaces()
    assert TOKEN not in everything_about(caught.value, caplog) + repr(given) + repr(vars(store))


def test_a_token_in_the_clear_is_warned_of(caplog):
    HttpStore(options("http://example.com"), saeviz.Context())
    assert "the token is sent to example.com unencrypted" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com",
        "http://",
        "http://user:secret@example.com",
        "http://a:99999",
        "http://a/?x=1",
    ],
)
def test_an_address_that_is_none(url):
    with pytest.raises(ValueError, match=r"write http://HOST:PORT|do not write a password here"):
        HttpOptions(url=url)


@pytest.mark.parametrize("factory", [HttpStore, HttpImages, HttpEmbeddings])
def test_offline_means_this_machine_only(factory):
    with pytest.raises(saeviz.ConfigError, match=r"run\.offline is set"):
        factory(options("https://example.com"), saeviz.Context(offline=True))
    factory(options("http://127.0.0.1:9"), saeviz.Context(offline=True))


@pytest.fixture
def quick(monkeypatch):
    """No waiting between tries; gives the pauses there would have been."""
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


GOOD = json.dumps({"service": "saeviz", "versions": [1], "features": True, "images": True, "embeddings": True}).encode()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again_after_longer_and_longer_pauses(quick, status):
    def answer(handler, number):
        send(handler, status) if number <= 4 else send(handler, 200, GOOD if number == 5 else b'{"spaces": []}')

    with answering(answer) as url:
        assert HttpStore(options(url, retries=4), saeviz.Context()).spaces() == []
    assert len(quick) == 4
    assert quick == sorted(quick)
    assert 0.1 < quick[0] < 0.4
    assert 1 < quick[3] < 3


def test_a_pause_that_is_asked_for_is_kept(quick):
    with (
        answering(lambda handler, number: send(handler, 429, Retry_After="7")) as url,
        pytest.raises(saeviz.DataError, match="cannot be used after 3 tries: status 429"),
    ):
        HttpStore(options(url, retries=2), saeviz.Context()).spaces()
    assert quick == [7, 7]


def test_a_service_that_hangs_up_in_the_middle_is_tried_again(quick):
    def answer(handler, number):
        if number == 1:
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            handler.wfile.write(b"{")
        else:
            send(handler, 200, GOOD if number == 2 else b'{"spaces": []}')

    with answering(answer) as url:
        assert HttpStore(options(url, retries=1), saeviz.Context()).spaces() == []


def test_a_service_that_does_not_answer_in_time(quick):
    with (
        answering(lambda handler, number: threading.Event().wait(2)) as url,
        pytest.raises(saeviz.DataError, match="no answer in time"),
    ):
        HttpStore(options(url, timeout=0.2, retries=1), saeviz.Context()).spaces()


@pytest.mark.parametrize(
    ("status", "body", "error", "message"),
    [
        (200, b"<html>hello</html>", saeviz.ConfigError, "is not a saeviz service"),
        (404, b"nothing here", saeviz.ConfigError, "is not a saeviz service"),
        (
            200,
            b'{"service": "saeviz", "versions": [2, 3]}',
            saeviz.ConfigError,
            r"uses protocol version \[2, 3\].*upgrade",
        ),
        (200, b'{"service": "saeviz", "versions": [1]}', saeviz.ConfigError, "has no features"),
        (302, b"", saeviz.ConfigError, "redirects"),
        (418, b'{"error": "no\\u001b[31m coffee\\n here"}', saeviz.ConfigError, r"no \[31m coffee  here"),
        (200, b"[" * 100_000, saeviz.ConfigError, "is not a saeviz service"),
    ],
)
def test_what_is_not_the_service_that_is_meant(status, body, error, message):
    with (
        answering(lambda handler, number: send(handler, status, body, Location="http://127.0.0.1:1/")) as url,
        pytest.raises(error, match=message),
    ):
        HttpStore(options(url), saeviz.Context()).spaces()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"spaces": 7}',
        b'{"spaces": [{"space": "layer1.cls"}]}',
        b'{"spaces": [{"space": "../x", "n_features": 9}]}',
        b"\xff",
        b"{",
    ],
)
def test_an_answer_that_makes_no_sense(body):
    with (
        answering(lambda handler, number: send(handler, 200, GOOD if number == 1 else body)) as url,
        pytest.raises(saeviz.DataError, match="sent an invalid response"),
    ):
        HttpStore(options(url), saeviz.Context()).spaces()


@pytest.mark.parametrize("body", [b"", b"PK\x03\x04", pack_features(versioned(SPACE, ["b"]))])
def test_features_that_make_no_sense(body):
    with (
        answering(lambda handler, number: send(handler, 200, GOOD if number == 1 else body)) as url,
        pytest.raises(saeviz.DataError, match="sent an invalid response"),
    ):
        list(HttpStore(options(url), saeviz.Context()).read(SPACE, ["a"]))


@pytest.mark.parametrize("body", [b"garbage", gzip.compress(GOOD)])
def test_a_compressed_answer_is_refused_as_it_may_unfold_to_anything(body):
    with (
        answering(lambda handler, number: send(handler, 200, body, Content_Encoding="gzip")) as url,
        pytest.raises(saeviz.DataError, match="sent an invalid response: compressed"),
    ):
        HttpStore(options(url), saeviz.Context()).spaces()


def listing(**changes):
    item = {"item_id": "a", "ratings": {}, "metadata": {}, "version": "", "individual": {}, **changes}
    body = json.dumps({"total": 1, "items": [item]}).encode()
    return answering(lambda handler, number: send(handler, 200, GOOD if number == 1 else body))


@pytest.mark.parametrize(
    "changes", [{"item_id": 7}, {"item_id": "\ud800"}, {"ratings": {"joy": 10**400}}, {"ratings": {"joy": "NaN"}}]
)
def test_images_that_make_no_sense(changes):
    with listing(**changes) as url, pytest.raises(saeviz.DataError, match="sent an invalid response"):
        list(HttpImages(options(url), saeviz.Context()).iter_images())


def test_text_that_cannot_be_written_is_made_so():
    with listing(metadata={"title": "a\ud800b"}, ratings={"\udfff": 1}, version="\ud800") as url:
        (item,) = HttpImages(options(url), saeviz.Context()).iter_images()
    assert (item.metadata, item.ratings, item.version) == ({"title": "a?b"}, {"?": 1.0}, "?")


@pytest.mark.parametrize("dim", [0, True, "8", 2**60])
def test_embeddings_of_a_length_that_makes_no_sense(dim):
    body = json.dumps({"dim": dim}).encode()
    with (
        answering(lambda handler, number: send(handler, 200, GOOD if number == 1 else body)) as url,
        pytest.raises(saeviz.DataError, match="sent an invalid response: embeddings of length"),
    ):
        HttpEmbeddings(options(url), saeviz.Context()).embed([saeviz.ImageItem("a", b"")])


def test_an_answer_that_is_too_long_is_not_read(monkeypatch):
    monkeypatch.setattr("saeviz_http.client.MOST_BYTES", 1000)
    with (
        answering(lambda handler, number: send(handler, 200, b" " * 1001)) as url,
        pytest.raises(saeviz.DataError, match="more than"),
    ):
        HttpStore(options(url), saeviz.Context()).spaces()


def test_hostile_ids_travel_unharmed(stored):
    store = HttpStore(options(stored.url), saeviz.Context())
    store.clear()
    store.write(versioned(SPACE, HOSTILE_IDS))
    assert store.item_ids(SPACE) == list(HOSTILE_IDS)


@pytest.mark.parametrize(
    ("changes", "group"), [({}, None), ({"group": None}, None), ({"group": "a series"}, "a series")]
)
def test_a_service_tells_the_group_of_an_image_or_knows_of_none(changes, group):
    with listing(**changes) as url:
        (item,) = HttpImages(options(url), saeviz.Context()).iter_images()
    assert item.group == group
