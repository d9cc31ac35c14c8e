"""Fetching pictures by URL, from a server on this machine that does what hostile and broken servers do."""

from __future__ import annotations

import gzip
import logging
import socket
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

import saeviz
from saeviz.toolkit.fetch import FetchOptions, addresses, fetcher, request
from saeviz.toolkit.fetch.addresses import is_public
from saeviz.toolkit.fetch.fetcher import Fetcher, RemoteImage
from saeviz.toolkit.fetch.urls import is_url, name_of, redacted
from tests.hostile_server import Site, picture
from tests.loopback import self_signed
from tests.waiting import PATIENCE

RED = picture("red")
SECRETS = ("hunter2", "alice", "s3cr3t")


@pytest.fixture
def site():
    site = Site()
    yield site
    site.stop()


@pytest.fixture
def slept(monkeypatch):
    """How long the fetcher would have waited between attempts."""
    pauses = []

    class Impatient(threading.Event):
        def wait(self, timeout=None):
            pauses.append(timeout)
            return self.is_set()

    monkeypatch.setattr(fetcher, "Event", Impatient)
    return pauses


@pytest.fixture
def only_one_is_public(monkeypatch):
    """This machine has many addresses; now one of them counts as public, and the others stay private."""
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")


@pytest.fixture
def open_fetcher(tmp_path):
    """Fetchers that share one cache folder."""
    opened = []

    def open_fetcher(*, offline=False, upcoming=(), **options) -> Fetcher:
        context = saeviz.Context(cache_dir=tmp_path / "cache", offline=offline)
        opened.append(Fetcher(FetchOptions(**{"allow_private": True, **options}), context, upcoming))
        return opened[-1]

    yield open_fetcher
    for one in opened:
        one.close()


def names(monkeypatch, **hosts: list[str]) -> list[str]:
    """From now on these host names have these addresses, the last for good; gives what is looked up."""
    looked_up = []
    real = socket.getaddrinfo

    def look_up(host, port, *args, **more):
        looked_up.append(host)
        known = hosts.get(str(host).replace(".", "_"))
        if known is None:
            return real(host, port, *args, **more)
        found = known.pop(0) if len(known) > 1 else known[0]
        return [entry for address in found.split() for entry in real(address, port, *args, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return looked_up


def refusal(fetcher: Fetcher, url: str) -> str:
    """The error text, which must not hold a secret."""
    with pytest.raises(saeviz.ImageError) as caught:
        fetcher.read(url, "an id")
    text = str(caught.value)
    assert text.startswith("image 'an id' cannot be fetched from ")
    assert not any(secret in text for secret in SECRETS)
    assert caught.value.__cause__ is None
    return text


# -- what it is for -----------------------------------------------------------------------------------------------


def test_a_picture_is_fetched_once_and_then_kept_for_all(site, open_fetcher):
    site.answers["/a.png"] = RED
    assert open_fetcher().read(site.url("/a.png"), "a") == RED
    assert open_fetcher().read(site.url("/a.png"), "b") == RED
    assert site.asked == ["/a.png"]


def test_a_source_opens_as_a_picture(site, open_fetcher):
    site.answers["/a.png"] = RED
    source = RemoteImage(open_fetcher(), site.url("/a.png"), "a")
    assert saeviz.ImageItem("a", source).open().getpixel((0, 0)) == (255, 0, 0)
    assert source.read_bytes() == RED


def test_what_two_urls_show_alike_is_kept_once(site, open_fetcher, tmp_path):
    site.answers.update({"/a.png": RED, "/b.png": RED})
    one = open_fetcher()
    assert one.read(site.url("/a.png"), "a") == one.read(site.url("/b.png"), "b")
    assert len([path for path in (tmp_path / "cache/downloads/content").rglob("*") if path.is_file()]) == 1


def test_offline_gives_what_is_kept_and_refuses_the_rest(site, open_fetcher):
    site.answers.update({"/a.png": RED, "/b.png": RED})
    open_fetcher().read(site.url("/a.png"), "a")
    offline = open_fetcher(offline=True)
    assert offline.read(site.url("/a.png"), "a") == RED
    assert "run.offline is set" in refusal(offline, site.url("/b.png"))
    assert site.asked == ["/a.png"]


def test_those_that_come_next_are_fetched_meanwhile(site, open_fetcher):
    paths = [f"/{number}.png" for number in range(20)]
    together = threading.Barrier(fetcher.AT_ONCE, timeout=PATIENCE)
    site.answers.update(
        {path: lambda r: (together.wait(), r.reply(200, RED, {"Content-Type": "image/png"})) for path in paths[:8]}
    )
    site.answers.update(dict.fromkeys(paths[8:], RED))
    one = open_fetcher(upcoming=[site.url(path) for path in paths])
    assert [one.read(site.url(path), path) for path in paths] == [RED] * 20
    assert sorted(site.asked) == sorted(paths)


def test_a_url_that_came_to_show_something_else_has_another_version(site, open_fetcher, tmp_path):
    site.answers["/a.png"] = RED
    url = site.url("/a.png")
    before = open_fetcher().version(url)
    open_fetcher().read(url, "a")
    assert open_fetcher().version(url) == before
    for path in (tmp_path / "cache/downloads/content").rglob("*"):
        if path.is_file():
            path.unlink()
    site.answers["/a.png"] = picture("blue")
    assert open_fetcher().read(url, "a") == picture("blue")
    assert open_fetcher().version(url) != before
    assert open_fetcher().version(url + "2") not in (before, open_fetcher().version(url))


# -- limits -------------------------------------------------------------------------------------------------------


def endless(headers: str):
    def answer(r):
        r.raw(f"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n{headers}\r\n")
        while not r.site.ended.is_set():
            block = bytes(1 << 16)
            r.raw(f"{len(block):x}\r\n" if "chunked" in headers else "", block + b"\r\n")

    return answer


@pytest.mark.parametrize("headers", ["", "Transfer-Encoding: chunked\r\n", "Content-Length: 99999999999\r\n"])
def test_an_endless_body_is_left_at_the_limit(site, open_fetcher, headers):
    site.answers["/a.png"] = endless(headers)
    assert "larger than images.max_megabytes = 1" in refusal(open_fetcher(max_megabytes=1), site.url("/a.png"))


def dripping(r, head: str) -> None:
    r.raw(head)
    while not r.site.ended.wait(0.05):
        r.raw("x")


@pytest.mark.slow
@pytest.mark.parametrize(
    "head",
    [
        "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 100000\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-",
        "HT",
    ],
    ids=["body", "body without end", "header", "status"],
)
def test_a_server_that_sends_a_byte_now_and_then_is_cut_off(site, open_fetcher, monkeypatch, head):
    monkeypatch.setattr(fetcher, "ATTEMPTS", 1)
    site.answers["/a.png"] = lambda r: dripping(r, head)
    assert "takes longer than 0.3 s" in refusal(open_fetcher(timeout=0.3), site.url("/a.png"))


@pytest.mark.slow
def test_a_server_that_says_nothing_is_asked_again_and_then_left(site, open_fetcher, monkeypatch, slept):
    monkeypatch.setattr(request, "READ_SECONDS", 0.1)
    site.answers["/a.png"] = lambda r: r.site.ended.wait(5)
    text = refusal(open_fetcher(), site.url("/a.png"))
    assert f"tried {fetcher.ATTEMPTS} times" in text
    assert len(site.asked) == fetcher.ATTEMPTS


def test_redirects_are_followed_to_the_limit(site, open_fetcher):
    site.answers.update({f"/{n}": lambda r, n=n: r.redirect(f"/{n + 1}", 301 + n % 2) for n in range(3)})
    site.answers["/3"] = RED
    assert open_fetcher(max_redirects=3).read(site.url("/0"), "a") == RED
    site.answers["/3"] = lambda r: r.redirect("/0")
    assert "more than 3 redirects" in refusal(open_fetcher(max_redirects=3), site.url("/1"))


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1:70/1", "javascript:1"])
def test_no_other_scheme_is_fetched(site, open_fetcher, to):
    site.answers["/a.png"] = lambda r: r.redirect(to)
    assert "only http and https" in refusal(open_fetcher(), site.url("/a.png"))
    assert "only http and https" in refusal(open_fetcher(), to) or "://" not in to


# -- private addresses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.7",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "fe80::1",
        "fe80::1%lo",
        "fc00::1",
        "fd12::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "2002:7f00:1::",
        "2001:0:5ef5:79fd:0:0:80ff:fffe",
    ],
)
def test_an_address_that_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
)
def test_a_public_address(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1", "0"]
)
def test_private_addresses_are_refused_however_they_are_written(site, open_fetcher, host):
    site.answers["/a.png"] = RED
    text = refusal(open_fetcher(allow_private=False), site.url("/a.png", host))
    assert "not a public internet address; images.allow_private = true" in text
    assert site.asked == []


def test_a_redirect_to_a_private_address_is_refused(site, open_fetcher, only_one_is_public):
    site.answers["/a.png"] = lambda r: r.redirect(site.url("/inside.png", "127.0.0.2"))
    site.answers["/inside.png"] = RED
    assert "its host is at 127.0.0.2" in refusal(open_fetcher(allow_private=False), site.url("/a.png"))
    assert site.asked == ["/a.png"]


def test_a_name_with_one_private_address_is_refused(site, open_fetcher, only_one_is_public, monkeypatch):
    names(monkeypatch, pictures_example=["127.0.0.1 127.0.0.2"])
    site.answers["/a.png"] = RED
    assert "127.0.0.2" in refusal(open_fetcher(allow_private=False), site.url("/a.png", "pictures.example"))
    assert site.asked == []


def test_the_address_that_was_checked_is_the_one_connected_to(site, open_fetcher, only_one_is_public, monkeypatch):
    """A name whose address changes between the check and the connection gains nothing."""
    looked_up = names(monkeypatch, pictures_example=["127.0.0.1", "127.0.0.2"])
    peers = []
    site.answers["/a.png"] = lambda r: (
        peers.append(r.connection.getsockname()[0]),
        r.reply(200, RED, {"Content-Type": "image/png"}),
    )
    assert open_fetcher(allow_private=False).read(site.url("/a.png", "pictures.example"), "a") == RED
    assert (peers, looked_up.count("pictures.example")) == (["127.0.0.1"], 1)
    assert site.headers[0]["Host"] == f"pictures.example:{site.port}"


def test_an_address_that_does_not_answer_gives_way_to_the_next(site, open_fetcher, monkeypatch):
    names(monkeypatch, pictures_example=["::1 127.0.0.1"])
    site.answers["/a.png"] = RED
    assert open_fetcher().read(site.url("/a.png", "pictures.example"), "a") == RED


# -- what servers send --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            lambda r: r.reply(200, b"<html>", {"Content-Type": "text/html; charset=utf-8"}),
            "sends 'text/html', not an image",
        ),
        (lambda r: r.reply(200, b"<html>", {"Content-Type": "image/jpeg"}), "did not send a readable image"),
        (lambda r: r.reply(200, b"", {"Content-Type": "image/jpeg"}), "did not send a readable image"),
        (lambda r: r.reply(404), "answers 404"),
        (lambda r: r.reply(206, RED), "answers 206"),
        (lambda r: r.reply(302), "answers 302"),
    ],
)
def test_what_is_no_picture_is_refused_at_once_and_not_kept(site, open_fetcher, tmp_path, answer, says):
    site.answers["/a.png"] = answer
    one = open_fetcher()
    assert says in refusal(one, site.url("/a.png"))
    assert says in refusal(one, site.url("/a.png"))
    assert site.asked == ["/a.png"]
    site.answers["/a.png"] = RED
    assert open_fetcher().read(site.url("/a.png"), "a") == RED


@pytest.mark.parametrize("kind", [None, "application/octet-stream", "IMAGE/PNG; x=1"])
def test_a_server_need_not_know_what_it_sends(site, open_fetcher, kind):
    site.answers["/a.png"] = lambda r: r.reply(200, RED, {"Content-Type": kind} if kind else {})
    assert open_fetcher().read(site.url("/a.png"), "a") == RED


def test_a_bomb_is_not_unpacked(site, open_fetcher):
    bomb = gzip.compress(bytes(20_000_000))
    site.answers["/a.png"] = lambda r: r.reply(200, bomb, {"Content-Type": "image/png", "Content-Encoding": "gzip"})
    assert "compressed data, although asked not to" in refusal(open_fetcher(), site.url("/a.png"))
    assert site.headers[0]["Accept-Encoding"] == "identity"


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(site, open_fetcher):
    from struct import pack
    from zlib import crc32

    header = b"IHDR" + pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    site.answers["/a.png"] = RED[:8] + pack(">I", 13) + header + pack(">I", crc32(header)) + RED[33:]
    assert "did not send a readable image" in refusal(open_fetcher(), site.url("/a.png"))


def failing(site: Site, *failures):
    """Answers with the failures first, one by one, and then with the picture."""
    left = list(failures)
    return lambda r: left.pop(0)(r) if left else r.reply(200, RED, {"Content-Type": "image/png"})


def test_what_may_pass_is_asked_for_again(site, open_fetcher, slept):
    site.answers["/a.png"] = failing(
        site,
        lambda r: r.reply(503),
        lambda r: r.raw("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", b"short"),
        lambda r: r.reply(500),
    )
    assert open_fetcher().read(site.url("/a.png"), "a") == RED
    assert len(site.asked) == 4
    pauses = [pause for pause in slept if pause]
    assert [0.5 < pause <= 1 for pause in pauses[:1]] == [True]
    assert pauses[0] < pauses[2]


def test_a_server_that_says_when_is_asked_then(site, open_fetcher, slept):
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    site.answers["/a.png"] = failing(
        site, lambda r: r.reply(429, b"", {"Retry-After": "7"}), lambda r: r.reply(503, b"", {"Retry-After": date})
    )
    assert open_fetcher().read(site.url("/a.png"), "a") == RED
    assert 7.0 in slept
    assert any(pause and 25 < pause <= 30 for pause in slept)


@pytest.mark.parametrize("when", ["soon", "Mon, 01 Jan 2024 00:00:00 +99999999999999", "Mon, 01 Jan 9" + "9" * 20])
def test_a_server_that_says_nonsense_about_when_is_asked_later(site, open_fetcher, slept, when):
    site.answers["/a.png"] = failing(site, lambda r: r.reply(503, b"", {"Retry-After": when}))
    assert open_fetcher().read(site.url("/a.png"), "a") == RED


def test_a_server_that_wants_an_hour_is_left(site, open_fetcher, slept):
    site.answers["/a.png"] = lambda r: r.reply(429, b"", {"Retry-After": "3600"})
    assert "answers 429" in refusal(open_fetcher(), site.url("/a.png"))
    assert len(site.asked) == 1


def test_a_host_that_is_not_there(open_fetcher, slept):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        text = refusal(open_fetcher(), f"http://127.0.0.1:{taken.getsockname()[1]}/a.png")
    assert "refused" in text


def test_a_host_that_never_answers_is_given_up(site, open_fetcher, slept):
    site.answers["/good.png"] = RED
    dead = [site.url(f"/{number}.png") for number in range(12)]
    site.answers.update({f"/{number}.png": lambda r: r.reply(503) for number in range(12)})
    one = open_fetcher()
    texts = [refusal(one, url) for url in dead[: fetcher.FAILURES_IN_A_ROW]]
    assert all("answers 503" in text for text in texts)
    asked = len(site.asked)
    assert "its host did not answer 10 requests in a row" in refusal(one, dead[10])
    assert len(site.asked) == asked
    assert one.read(site.url("/good.png", "localhost"), "a") == RED, "another host is asked"
    assert "answers 503" in refusal(open_fetcher(), dead[11]), "the next run asks again"


def test_a_host_that_answers_now_and_then_is_not_given_up(site, open_fetcher, slept):
    one = open_fetcher()
    for number in range(2 * fetcher.FAILURES_IN_A_ROW):
        status = 404 if number % 5 == 4 else 503
        site.answers[f"/{number}.png"] = lambda r, status=status: r.reply(status)
        assert f"answers {status}" in refusal(one, site.url(f"/{number}.png"))


def test_a_name_that_is_not_looked_up_in_time_is_left(site, open_fetcher, monkeypatch, slept):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: site.ended.wait(600))
    monkeypatch.setattr(fetcher, "ATTEMPTS", 1)
    assert "not resolved in time" in refusal(open_fetcher(timeout=0.2), site.url("/a.png", "slow.example"))


@pytest.mark.parametrize(
    "url",
    ["http://", "http:///a.png", "http://a b/", "http://[::1/", "http://x:99999/", "http://" + "a" * 300 + ".example/"],
)
def test_what_is_no_url(open_fetcher, url, slept):
    refusal(open_fetcher(), url)


# -- secrets ------------------------------------------------------------------------------------------------------

SECRET_PATH = "/a.png?token=s3cr3t&x=1#s3cr3t"


def test_user_and_password_are_sent_and_not_to_another_host(site, open_fetcher):
    site.answers["/a.png"] = lambda r: r.redirect(site.url("/b.png"))
    site.answers["/b.png"] = RED
    assert open_fetcher().read(site.url("/a.png", "alice:hunter%32@127.0.0.2"), "a") == RED
    assert [headers.get("authorization") for headers in site.headers] == ["Basic YWxpY2U6aHVudGVyMg==", None]


@pytest.mark.parametrize(
    "answer",
    [
        lambda r: r.reply(404),
        lambda r: r.redirect("http://alice:hunter2@[broken?s3cr3t"),
        lambda r: r.redirect("s3cr3t://alice/?s3cr3t"),
        lambda r: r.redirect(r.path),
        lambda r: r.raw("s3cr3t\r\n\r\n"),
        lambda r: r.raw("HTTP/1.1 200 OK\r\nbroken s3cr3t header\r\n: x\r\nContent-Length: zz\r\n\r\n"),
    ],
)
def test_no_secret_of_a_url_is_told(site, open_fetcher, caplog, capfd, monkeypatch, tmp_path, answer):
    monkeypatch.setattr(fetcher, "ATTEMPTS", 1)
    site.answers["/a.png"] = answer
    with caplog.at_level(logging.DEBUG):
        refusal(open_fetcher(), site.url(SECRET_PATH, "alice:hunter2@127.0.0.1"))
    told = caplog.text + "".join(capfd.readouterr()) + "".join(map(str, tmp_path.rglob("*")))
    assert not any(secret in told for secret in SECRETS)


def test_malformed_headers_of_a_good_picture_tell_no_secret_either(site, open_fetcher, caplog):
    site.answers["/a.png"] = lambda r: r.raw(
        f"HTTP/1.1 200 OK\r\nContent-Length: {len(RED)}\r\nno colon here\r\n\r\n", RED
    )
    with caplog.at_level(logging.DEBUG):
        try:
            open_fetcher().read(site.url(SECRET_PATH), "a")
        except saeviz.ImageError as error:
            assert "s3cr3t" not in str(error)  # noqa: PT017
    assert "headers" in caplog.text
    assert "s3cr3t" not in caplog.text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://alice:hunter2@host/a.png", "https://host/a.png"),
        ("https://host/a.png?token=s3cr3t", "https://host/a.png?..."),
        ("https://host?s3cr3t@x/y", "https://host?..."),
        ("https://a@b@host/@c#s3cr3t", "https://host/@c"),
        ("https://host/a.png#?", "https://host/a.png"),
    ],
)
def test_what_is_shown_of_a_url(url, shown):
    assert redacted(url) == shown
    assert is_url(url)


def test_the_name_of_a_url_is_its_own_and_holds_no_secret():
    urls = [f"https://host/a.png?id={n}&key=s3cr3t" for n in range(3)] + ["https://host/a.png", "https://host/b.png"]
    named = [name_of(url) for url in urls]
    assert len(set(named)) == 5
    assert named[3] == "https://host/a.png"
    assert not any("s3cr3t" in name for name in named)


# -- certificates -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return self_signed(tmp_path_factory.mktemp("tls"), "pictures.example")


@pytest.fixture
def secure_site(certificate):
    site = Site(certificate)
    yield site
    site.stop()


def test_https_by_a_name_that_the_certificate_has(secure_site, certificate, open_fetcher, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.parent / "cert.pem"))
    names(monkeypatch, pictures_example=["127.0.0.1"], other_example=["127.0.0.1"])
    secure_site.answers["/a.png"] = RED
    assert open_fetcher().read(secure_site.url("/a.png", "pictures.example", "https"), "a") == RED
    assert "certificate is not trusted" in refusal(open_fetcher(), secure_site.url("/a.png", "other.example", "https"))


def test_a_certificate_of_nobody(secure_site, open_fetcher, monkeypatch):
    names(monkeypatch, pictures_example=["127.0.0.1"])
    assert "certificate is not trusted" in refusal(
        open_fetcher(), secure_site.url("/a.png", "pictures.example", "https")
    )
    assert secure_site.asked == []
