"""Whatever stands in settings, run file and environment: a sentence and exit code 2 or 3, or it works. No traceback."""

from __future__ import annotations

import contextlib
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import saeviz
from saeviz.values.errors import ConfigError

TABLES = ["run", "images", "extractor", "store", "embeddings", "second_embeddings", "selector", "labeler", "judge"]
HOSTILE_VALUES = [
    "9" * 10_000,
    "-" + "9" * 4301,
    "0x" + "f" * 4000,
    "1e999",
    "inf",
    "-inf",
    "nan",
    "1979-05-27",
    "00:00:00",
    "[" * 5000,
    "[" * 200 + "]" * 200,
    "{a=" * 300 + "1" + "}" * 300,
    "true",
    "''",
    "{}",
    "[]",
    "[[]]",
    "[1, 'a', {}]",
    "x" * 5000,
    "../" * 3000,
    "~nobody-of-this-name/x",
    "\udcff\udcfe",
    "\x1b]0;title\x07\u202e",
    '"\\u0000"',
    "1\nuse = 2",
]


@pytest.fixture
def hostile(saeviz_command, fake_run):
    """Check a run with these settings; it ends in one of the ways that a command may end in."""

    def call(*assignments: str):
        ended = saeviz_command("check", fake_run, *(part for text in assignments for part in ("--set", text)))
        assert ended.code in (0, 2, 3), ended
        assert not any(letter in ended.err for letter in "\x1b\x07\u202e\0\r"), ended
        assert all(len(line) < 2000 for line in ended.err.splitlines()), ended
        return ended

    return call


@pytest.mark.slow
@pytest.mark.parametrize("value", HOSTILE_VALUES, ids=range(len(HOSTILE_VALUES)))
def test_a_hostile_value_of_any_kind_of_option(hostile, value):
    options = [
        "run.seed",
        "run.dir",
        "run.device",
        "run.cache",
        "run.top_images",
        "images.use",
        "images.n",
        "extractor.x",
    ]
    for option in [
        *options,
        "scorers",
        "scorers.0",
        "scorers.0.use",
        "scorers.1.alpha",
        "reporters.0.path",
        "plugins.use",
    ]:
        hostile(f"{option}={value}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (["scorers=[]", "scorers.0.alpha=1"], "--set 'scorers.0.alpha': scorers.0 does not exist"),
        (["run.dir=a", "run.dir.b=c"], "--set 'run.dir.b': run.dir is set to a value without keys"),
        (["scorers=[5]", "scorers.0.alpha=1"], "scorers.0 is set to a value without keys"),
        ([f"scorers.{'9' * 10_000}.alpha=1"], "scorers.9999"),
        ([".".join("a" * 10_000) + "=1"], "it is nested more than 32 deep"),
        (["run.seed=" + "9" * 10_000], "run.seed: "),
        (["run.seed=0x" + "f" * 4000], "a number of about 4,8"),
        ([f"run.dir={'x' * 5000}"], "run.dir: 'xxx"),
        (["run.dir=~nobody-of-this-name/x"], "run.dir: '~nobody-of-this-name/x' cannot be a path"),
        (["run.dir=\udcff"], "is not valid text (UTF-8)"),
        (['run.dir="a\\u0000b"'], "has a NUL character in it"),
        (["=1"], "write TABLE.KEY=VALUE"),
        (["run=1"], "write TABLE.KEY=VALUE"),
        (["run..x=1"], "write TABLE.KEY=VALUE"),
    ],
)
def test_a_conflict_or_a_monster_is_named(hostile, assignments, said):
    ended = hostile(*assignments)

    assert ended.code == 2
    assert said in ended.err


def test_a_later_setting_changes_what_an_earlier_one_made(hostile):
    assert hostile("scorers=[{use='pearson-bh'}]", "scorers.0.alpha=0.1").code == 0
    assert hostile("scorers.0.alpha=7", "scorers=[{use='pearson-bh'}]").code == 0


words = st.text(string.printable + "\x1b\u202e\udcff\0é", max_size=12)
values = st.recursive(
    words | st.integers() | st.floats() | st.booleans() | st.none() | st.dates() | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([*TABLES, "scorers.0", "scorers", "x"]), words, words), max_size=4))
def test_any_settings(hostile, assignments):
    hostile(*(f"{table}.{key}={value}" for table, key, value in assignments))


@pytest.mark.slow
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from([*TABLES, "scorers", "reporters", "plugins", "x"]), values, max_size=4))
def test_any_dictionary(tables):
    with contextlib.suppress(ConfigError, saeviz.PluginError):
        saeviz.api.prepare([saeviz.config.layers.Layer(tables, Path.cwd(), "the settings")])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89PNG\r\n\x1a\n\0", "it is not UTF-8 text"),
        (b"\xff\xfe[\0r\0u\0n\0]\0", "it is not UTF-8 text"),
        (b"[run]\nseed = " + b"9" * 10_000, "too many digits"),
        (b"[run]\nseed = " + b"[" * 10_000, "nested too deeply"),
        (b"a" + b".a" * 5000 + b" = 1", "nested more than 32 deep"),
        (b"[run]\nseed = 0x" + b"f" * 4000, "too large for an option"),
        (b"#" * (5 * 2**20), "more than 4 MB"),
        (b"run = 5", "[run] must be a table"),
        (b"scorers = 5", "write [[scorers]], a list of tables"),
        (b"plugins = 5", "the table [plugins] has only the option `use`"),
        (b"[run]\nseed = 1979-05-27", "run.seed: "),
        (b"[run]\nseed = inf", "run.seed: "),
        (b"[run]\nseed = 1\nseed = 2", "is not valid TOML"),
        (b"[images]\nuse = 1979-05-27", 'images: name a component, for example use = "'),
    ],
    ids=range(14),
)
@pytest.mark.parametrize("command", ["check", "run"])
def test_a_run_file_that_is_none(saeviz_command, tmp_path, command, content, said):
    (tmp_path / "run.toml").write_bytes(content)
    ended = saeviz_command(command, "run.toml")

    assert ended.code == 2
    assert said in ended.err


def test_a_run_file_that_is_a_folder_or_has_no_end(saeviz_command, tmp_path):
    assert "cannot be read: Is a directory" in saeviz_command("check", tmp_path).err
    if Path("/dev/zero").exists():
        assert "it is a device, not a file" in saeviz_command("check", "/dev/zero").err


@pytest.mark.parametrize("value", ["9" * 10_000, "[" * 5000, "~nobody-of-this-name", "\x1b[31m", "nan", "\udcff"])
def test_a_hostile_environment(saeviz_command, fake_run, monkeypatch, value):
    for name in (
        "SAEVIZ_RUN__SEED",
        "SAEVIZ_SCORERS__0__ALPHA",
        "SAEVIZ_RUN__SEED__X",
        "SAEVIZ_X__Y",
        "SAEVIZ_PLUGINS",
    ):
        with monkeypatch.context() as inner:
            inner.setenv(name, value)
            ended = saeviz_command("check", fake_run)
        assert ended.code in (2, 3), (name, ended)
        assert "\x1b" not in ended.err
