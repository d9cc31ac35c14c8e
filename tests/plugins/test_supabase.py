"""The store `supabase`: the client's own code against a server that speaks its protocol, before a real PostgreSQL."""

from __future__ import annotations

import logging
import re
import time
import traceback
from importlib.resources import files
from uuid import uuid4

import pytest

import saeviz
from saeviz.testing import FeatureStoreContract
from saeviz.testing.data import random_batch
from saeviz.testing.stores import SPACE, assert_same, read_all, versioned

pytest.importorskip("supabase", reason="needs pip install 'saeviz[supabase]'")

import saeviz_supabase.project
import saeviz_supabase.transport
from saeviz_supabase import SupabaseStoreOptions
from saeviz_supabase.store import ROWS_AT_ONCE, SupabaseStore
from tests.conftest import FAKE_RUN
from tests.supabase_server import Fault, SupabaseServer, token

TABLES = files("saeviz_supabase").joinpath("tables.sql").read_text()
IDS = [f"item {number}" for number in range(250)]


@pytest.fixture(autouse=True)
def hardly_any_delay(monkeypatch):
    monkeypatch.setattr(saeviz_supabase.transport, "FIRST_DELAY", 0.002)
    for name in ("SUPABASE_URL", "SUPABASE_KEY", "SUPABASE_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(database_url):
    """A project with the tables."""
    with SupabaseServer(database_url) as server:
        server.sql(TABLES)
        yield server


@pytest.fixture
def open_store(project):
    """Opens the store, by default with the secret key."""

    def opened(key="service_role", run="art", **options):
        return SupabaseStore(
            SupabaseStoreOptions(url=project.url, key=project.keys.get(key, key), run=run, **options), saeviz.Context()
        )

    return opened


class TestContract(FeatureStoreContract):
    most_items_per_batch = ROWS_AT_ONCE
    series = 2

    @pytest.fixture
    def open_store(self, open_store):
        return open_store


class TestContractForAUserBehindRowLevelSecurity(FeatureStoreContract):
    most_items_per_batch = ROWS_AT_ONCE
    series = 1

    @pytest.fixture
    def open_store(self, open_store, project):
        project.most_rows = 7
        user = token("authenticated", sub=str(uuid4()))
        return lambda: open_store("anon", access_token=user)


def test_runs_in_one_project_do_not_mix(open_store):
    one, two = open_store(run="one"), open_store(run="two")
    other_width = saeviz.FeatureSpace(SPACE.layer, SPACE.tokens, 70)
    one.write(versioned(SPACE, ["same", "mine"]))
    two.write(versioned(other_width, ["same", "theirs"], version=1))
    assert (one.spaces(), two.spaces()) == ([SPACE], [other_width])
    two.clear()
    assert two.spaces() == []
    assert_same(read_all(one, SPACE), versioned(SPACE, ["same", "mine"]))


def test_url_and_keys_come_from_the_environment(project, monkeypatch):
    monkeypatch.setenv("SUPABASE_URL", project.url)
    monkeypatch.setenv("SUPABASE_KEY", project.keys["anon"] + "\n")
    monkeypatch.setenv("SUPABASE_ACCESS_TOKEN", token("authenticated", sub=str(uuid4())))
    store = SupabaseStore(SupabaseStoreOptions(run="art"), saeviz.Context())
    store.write(versioned(SPACE, ["a"]))
    assert_same(read_all(store, SPACE), versioned(SPACE, ["a"]))


def test_what_is_written_is_what_the_store_sql_reads_from_postgres(project, open_store):
    """The columns of features mean the same in both."""
    open_store().save_features("a\0b", [0.0, 0.5, 0.0, 2.0], layer=7)
    query = "select item_id, features, activations from saeviz_features"
    ((key, features, activations),) = project.sql(query)
    assert (key, features, activations.hex()) == ("a\\0b", b"\x01\x00\x03\x00", "0000003f00000040")


def test_requests_stay_below_the_limit_and_a_batch_keeps_its_order(project, open_store, monkeypatch):
    monkeypatch.setattr("saeviz_supabase.store.BODY_BYTES", 20_000)
    store = open_store()
    wide = saeviz.FeatureSpace(3, "cls", 2000)
    batch = random_batch(wide, IDS)
    store.write(batch)
    sizes = [size for method, path, size in project.requests if method == "POST" and "saeviz_features" in path]
    assert len(sizes) > 5
    assert max(sizes) <= 20_000
    assert_same(read_all(store, wide), batch)


def test_a_row_larger_than_the_limit_goes_by_itself(project, open_store, monkeypatch):
    monkeypatch.setattr("saeviz_supabase.store.BODY_BYTES", 100)
    open_store().write(versioned(SPACE, ["a", "b", "c"]))
    assert [method for method, path, _ in project.requests if "saeviz_features" in path] == ["POST"] * 3


def test_no_url_grows_with_ids_and_reading_takes_few_requests(project, open_store):
    store = open_store()
    long_ids = [f"{item_id} {'long ' * 100}" for item_id in IDS]
    store.write(versioned(SPACE, long_ids))
    project.requests.clear()
    assert_same(read_all(store, SPACE, long_ids[::-1]), versioned(SPACE, long_ids[::-1]))
    assert len(project.requests) <= 1 + 2 + 3
    assert max(len(path) for _, path, _ in project.requests) < 2000


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, '{"message": "API rate limit exceeded"}'),
        Fault(503, "<html>upstream connect error</html>"),
        Fault(500, '{"code": "XX000", "message": "internal"}'),
        Fault(502, done=True),
        Fault(504, done=True),
        Fault(0),
        Fault(0, done=True),
    ],
    ids=["429", "503", "500", "502 when done", "504 when done", "closed", "closed when done"],
)
def test_what_may_pass_is_tried_again_and_nothing_comes_twice(project, open_store, fault):
    store = open_store()
    store.write(versioned(SPACE, ["first"]))
    for _ in range(2):
        project.faults.extend([fault, fault])
        store.write(versioned(SPACE, ["a", "b"]))
        project.faults.append(fault)
        assert store.item_ids(SPACE) == ["first", "a", "b"]
    project.faults.append(fault)
    assert_same(read_all(store, SPACE), versioned(SPACE, ["first", "a", "b"]))
    project.faults.append(fault)
    store.clear()
    assert store.spaces() == []


def test_a_slow_answer_is_asked_for_again(project, open_store, monkeypatch):
    monkeypatch.setattr(saeviz_supabase.project, "TIMEOUT", 1)
    store = open_store()
    project.faults.append(Fault(200, "[]", slow=3))
    store.write(versioned(SPACE, ["a"]))
    assert store.item_ids(SPACE) == ["a"]


def test_a_server_that_says_when_is_left_alone_until_then(project, open_store):
    project.faults.append(Fault(429, Retry_After="1"))
    start = time.monotonic()
    assert open_store().item_ids(SPACE) == []
    assert time.monotonic() - start >= 1.0


def test_a_server_that_says_nonsense_about_when_is_asked_again(project, open_store):
    project.faults.append(Fault(503, Retry_After="Mon, 01 Jan 2024 00:00:00 +99999999999999"))
    assert open_store().item_ids(SPACE) == []


def test_delays_grow_and_differ(project, open_store, monkeypatch, caplog):
    delays = []
    monkeypatch.setattr(saeviz_supabase.transport, "FIRST_DELAY", 0.5)
    monkeypatch.setattr(saeviz_supabase.transport.time, "sleep", delays.append)
    for _ in range(2):
        project.faults.extend([Fault(503)] * 5)
        open_store().item_ids(SPACE)
    assert len(delays) == 10
    for attempt, delay in enumerate(delays[:5]):
        assert 0.25 * 2**attempt <= delay <= 0.5 * 2**attempt
    assert delays[:5] != delays[5:]


def told_by(error: BaseException) -> str:
    """All that anybody gets to read of an error: the sentence and the chain of tracebacks."""
    return "".join(traceback.format_exception(error))


def refused(action, kind, sentence, *secrets):
    with pytest.raises(kind, match=f"(?s){sentence}") as caught:
        action()
    for secret in secrets:
        assert secret not in told_by(caught.value)


def test_what_does_not_pass_is_told(project, open_store):
    project.faults.extend([Fault(503, '{"message": "down for repairs"}')] * 6)
    key = project.keys["service_role"]
    refused(open_store().spaces, saeviz.SaevizError, r"status 503 \(down for repairs\), after 6 tries; run again", key)


def test_a_project_that_is_not_there_is_told(open_store, monkeypatch, project):
    store = SupabaseStore(SupabaseStoreOptions(url="http://127.0.0.1:1", key="secret-key", run="a"), saeviz.Context())
    refused(store.spaces, saeviz.SaevizError, r"store: 127.0.0.1 cannot be reached \(ConnectError", "secret-key")


def test_missing_tables_say_where_their_sql_is(project, open_store):
    project.sql("drop table saeviz_features; drop table saeviz_spaces")
    step = "saeviz_spaces.*`saeviz plugins store:supabase --sql"
    refused(open_store().spaces, saeviz.ConfigError, step, project.keys["service_role"])


@pytest.mark.parametrize("key", ["wrong-key-of-mine", token("service_role", ref="another project")])
def test_a_wrong_key_is_told_and_not_shown(open_store, key, caplog):
    caplog.set_level(logging.DEBUG)
    refused(
        open_store(key).spaces, saeviz.ConfigError, r"store.key: the project refuses the key \(Invalid API key\)", key
    )
    assert key not in caplog.text


@pytest.mark.parametrize("status", [401, 400, 503])
def test_a_server_that_repeats_the_key_is_not_quoted(project, open_store, status, caplog):
    caplog.set_level(logging.DEBUG)
    key = project.keys["service_role"]
    project.faults.extend([Fault(status, f'{{"message": "no such key: {key}"}}')] * 6)
    refused(open_store().spaces, saeviz.SaevizError, r"no such key: \*\*\*", key)
    assert key not in caplog.text


def test_a_redirect_is_not_followed(project, open_store):
    project.faults.append(Fault(307, Location=f"{project.url}/elsewhere"))
    refused(open_store().spaces, saeviz.SaevizError, "Temporary Redirect", project.keys["service_role"])
    assert len(project.requests) == 1


def test_no_log_has_the_key(project, open_store, caplog):
    caplog.set_level(logging.DEBUG)
    project.faults.extend([Fault(503), Fault(0)])
    open_store().write(versioned(SPACE, ["a"]))
    assert "trying again" in caplog.text
    assert project.keys["service_role"] not in caplog.text


@pytest.mark.parametrize("key", ["two words", "k\u00e9y", "line\nbreak"])
def test_a_key_that_is_none_is_told_and_not_shown(open_store, key):
    refused(open_store(key).spaces, saeviz.ConfigError, "store.key: it holds spaces or signs", key)


def test_the_publishable_key_alone_may_do_nothing(project, open_store):
    store = open_store("anon")
    denied = r"permission denied for table saeviz_spaces \(42501\).*row-level security.*secret key"
    refused(store.spaces, saeviz.SaevizError, denied, project.keys["anon"])
    refused(lambda: store.write(versioned(SPACE, ["a"])), saeviz.SaevizError, denied, project.keys["anon"])


def test_users_see_and_change_their_own_runs_only(project, open_store):
    ours, theirs = (token("authenticated", sub=str(uuid4())) for _ in range(2))
    mine = open_store("anon", run="mine", access_token=ours)
    mine.write(versioned(SPACE, ["a"]))
    other = open_store("anon", run="mine", access_token=theirs)
    assert other.spaces() == []
    other.clear()
    name_is_taken = "store.run: 'mine' is the run of another user"
    refused(lambda: other.write(versioned(SPACE, ["a"], 1)), saeviz.ConfigError, name_is_taken, theirs)
    assert_same(read_all(mine, SPACE), versioned(SPACE, ["a"]))
    other._numbers[SPACE] = project.sql("select id from saeviz_spaces")[0][0]
    policy = "violates row-level security policy.*42501"
    refused(lambda: other.write(versioned(SPACE, ["b"], 1)), saeviz.SaevizError, policy, theirs)
    assert_same(read_all(open_store(run="mine"), SPACE), versioned(SPACE, ["a"]))


def test_all_may_read_where_the_project_adds_that_policy(project, open_store):
    open_store(run="mine").write(versioned(SPACE, ["a"]))
    addition = re.findall(r"^--   (create policy .*)$", TABLES, re.MULTILINE)
    project.sql("".join(addition))
    reader = open_store("anon", run="mine", access_token=token("authenticated", sub=str(uuid4())))
    assert_same(read_all(reader, SPACE), versioned(SPACE, ["a"]))
    for changed in (["b"], ["a"]):
        with pytest.raises(saeviz.SaevizError, match="42501"):
            reader.write(versioned(SPACE, changed, version=1))
    reader.clear()
    assert_same(read_all(open_store(run="mine"), SPACE), versioned(SPACE, ["a"]))


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ({"exp": 1}, r"JWT expired \(PGRST303\); the access token has expired"),
        (None, r"PGRST301\); the access token is not"),
    ],
)
def test_a_token_that_is_not_valid_is_told(open_store, claims, sentence):
    user = token("authenticated", **claims) if claims else "not.a.token"
    refused(open_store("anon", access_token=user).spaces, saeviz.SaevizError, sentence, user)


def test_the_sql_may_be_run_again_and_keeps_what_is_there(project, open_store):
    open_store().write(versioned(SPACE, ["a"]))
    project.sql(TABLES)
    assert_same(read_all(open_store(), SPACE), versioned(SPACE, ["a"]))


def test_a_space_left_empty_by_a_crash_may_get_another_width(project, open_store):
    project.sql("insert into saeviz_spaces (run, layer, tokens, n_features) values ('art', 11, 'cls', 8)")
    store = open_store()
    assert store.spaces() == []
    store.write(versioned(SPACE, ["a"]))
    assert store.spaces() == [SPACE]


def test_something_else_that_answers_is_told(project, open_store):
    project.faults.append(Fault(200, "<html>Welcome to the hotel</html>"))
    refused(open_store().spaces, saeviz.SaevizError, "does not answer like a Supabase project")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "store.url: no project; set url or the environment variable SUPABASE_URL"),
        ({"url": "https://x.supabase.co"}, "store.key: set the environment variable SUPABASE_KEY"),
    ],
)
def test_what_is_missing_is_asked_for(options, sentence):
    store = SupabaseStore(SupabaseStoreOptions(run="a", **options), saeviz.Context())
    refused(store.spaces, saeviz.ConfigError, sentence)


@pytest.mark.parametrize("url", ["x.supabase.co", "https://[", "https://user:pw@x.supabase.co"])
def test_a_url_of_the_environment_that_is_none_is_not_shown(monkeypatch, url):
    monkeypatch.setenv("SUPABASE_URL", url)
    store = SupabaseStore(SupabaseStoreOptions(run="a", key="k"), saeviz.Context())
    refused(store.spaces, saeviz.ConfigError, "write the project's URL", "pw@")


@pytest.mark.parametrize(
    "url",
    ["https://:hunter2@x.supabase.co", "https://a:hunter2@x.supabase.co", "https://x.supabase.co/?apikey=hunter2",
     "https://x.supabase.co/#hunter2", "postgresql://hunter2@x/y", "https://[hunter2"],
)  # fmt: skip
def test_a_url_with_a_secret_in_it_reaches_no_file(saeviz_command, tmp_path, url):
    run_file = tmp_path / "art.toml"
    run_file.write_text(FAKE_RUN)
    ended = saeviz_command(
        "run", run_file, "--set", "store.use=supabase", "--set", f"store.url={url}", "--set", "store.run=a"
    )
    assert ended.code == saeviz.ExitCode.USAGE
    assert "store.url: write the project's URL" in ended.err
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"hunter2" not in written + (ended.out + ended.err).encode()


def test_offline_means_offline(project):
    options = SupabaseStoreOptions(url=project.url, key="k", run="a")
    refused(SupabaseStore(options, saeviz.Context(offline=True)).spaces, saeviz.ConfigError, "run.offline is set")
    assert project.requests == []


def test_the_command_prints_the_sql(saeviz_command):
    done = saeviz_command("plugins", "store:supabase", "--sql")
    assert (done.code, done.out) == (0, TABLES)
    without = saeviz_command("plugins", "store:npz", "--sql")
    assert (without.code, without.out) == (saeviz.ExitCode.USAGE, "")
    assert "npz has no SQL" in without.err
