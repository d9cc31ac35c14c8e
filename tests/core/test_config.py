"""The run file: precedence, paths, secrets, and every mistake in one message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import Field, SecretStr

import saeviz
from saeviz.config.layers import Layer, assignment_layer, environment_layer, read_run_file
from saeviz.config.resolve import resolve
from saeviz.config.schema import RunConfig
from saeviz.discovery.manager import Manager
from saeviz.discovery.sources import PluginChoice, Source

FAKE_TABLES = {
    "images": {"use": "fake-images"},
    "extractor": {"use": "fake-extractor"},
    "embeddings": {"use": "fake-embeddings"},
    "scorers": [{"use": "fake-scorer"}],
    "reporters": [{"use": "fake-reporter"}],
}


class KeyOptions(saeviz.Options):
    api_key: SecretStr | None = Field(None, description="the key")
    retries: int = 3


class KeyPlugin:
    @staticmethod
    @saeviz.hookimpl
    def saeviz_labelers():
        yield saeviz.LabelerSpec(name="keyed", summary="wants a key", options=KeyOptions, factory=dict)


@pytest.fixture
def manager() -> Manager:
    manager = Manager.discover(PluginChoice.parse(["module:saeviz.testing.fakes"], Path()))
    manager.add(Source("keyed", "a test", "1", bundled=False, load=lambda: KeyPlugin))
    assert manager.problems == []
    return manager


def config_of(manager: Manager, tables: dict, *more: Layer, environment: dict | None = None) -> RunConfig:
    layers = [Layer({**FAKE_TABLES, **tables}, Path("/base"), "art.toml"), *more]
    return resolve(layers, manager, environment or {})


def test_a_table_that_is_absent_has_its_default_component(manager):
    config = resolve([Layer({"images": {"path": "paintings"}}, Path("/base"), "art.toml")], manager)
    assert [component.use for component in config.components()] == [
        "folder",
        "clip-b32-prisma",
        "npz",
        "dinov2",
        "tiered",
        "local",
        "monosemanticity",
        "pearson-bh",
        "redundancy",
        "html",
    ]
    assert config.labeler is None


def test_none_leaves_an_optional_role_out_but_no_other(manager):
    assert config_of(manager, {"embeddings": {"use": "none"}}).embeddings is None
    with pytest.raises(saeviz.ConfigError, match="extractor 'none'"):
        config_of(manager, {"extractor": {"use": "none"}})


def test_later_layers_win_value_by_value(manager):
    config = config_of(
        manager,
        {"run": {"seed": 1, "device": "cpu"}, "images": {"use": "fake-images", "n": 5, "seed": 2}},
        assignment_layer(["images.n=7", "run.device=cuda"], Path("/here")),
        environment={},
    )
    assert (config.run.seed, config.run.device) == (1, "cuda")
    assert config.images.options.model_dump(include={"n", "seed"}) == {"n": 7, "seed": 2}


def test_one_entry_of_a_list_can_be_changed_by_its_number(manager):
    changed = config_of(
        manager,
        {"scorers": [{"use": "monosemanticity"}, {"use": "pearson-bh"}]},
        assignment_layer(["scorers.1.alpha=0.01"], Path("/here")),
    )
    assert changed.scorers[1].options.alpha == 0.01
    with pytest.raises(saeviz.ConfigError, match=r"scorers\.7"):
        config_of(manager, {}, assignment_layer(["scorers.7.alpha=0.01"], Path("/here")))


def test_environment_variables_are_settings():
    layer = environment_layer({"SAEVIZ_RUN__SEED": "7", "SAEVIZ_PLUGINS": "x", "HOME": "/h"}, Path("/here"))
    assert layer.tables == {"run": {"seed": 7}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("layers=[11, 8]", [11, 8]),
        ("layers=yes please", "yes please"),
        ("layers=true", True),
        ("layers=a = b", "a = b"),
        ("layers=", ""),
        ('layers={ 7 = "x" }', {"7": "x"}),
    ],
)
def test_an_assignment_is_toml_or_else_text(text, value):
    assert assignment_layer([f"extractor.{text}"], Path()).tables == {"extractor": {"layers": value}}


@pytest.mark.parametrize("text", ["layers=[11]", "extractor.layers", "=3", "extractor.=3", ".layers=3"])
def test_an_assignment_without_table_key_and_value_is_refused(text):
    with pytest.raises(saeviz.ConfigError, match="write TABLE"):
        assignment_layer([text], Path())


def test_paths_are_relative_to_where_they_are_written(manager, tmp_path):
    (tmp_path / "paintings").mkdir()
    file = tmp_path / "art.toml"
    file.write_text('[images]\npath = "paintings"\nratings = "r.csv"\n')
    config = resolve([read_run_file(file), assignment_layer(["images.ratings=other.csv"], Path("/here"))], manager)
    assert config.images.options.path == tmp_path / "paintings"
    assert config.images.options.ratings == Path("/here/other.csv")
    assert config.run.dir == tmp_path / "runs" / "art"


def test_text_that_may_be_a_hub_id_is_a_path_only_where_something_is(manager, tmp_path):
    (tmp_path / "sae7").mkdir()
    tables = {"extractor": {"use": "clip-b32-prisma", "saes": {"7": "sae7", "8": "owner/sae8", "11": "./not-there"}}}
    config = resolve([Layer(tables | {"images": {"path": "x"}}, tmp_path, "art.toml")], manager)
    saes = config.extractor.options.model_dump(mode="json")["saes"]
    assert list(saes.values()) == [str(tmp_path / "sae7"), "owner/sae8", str(tmp_path / "not-there")]


def test_every_mistake_is_listed_at_once_with_place_and_suggestion(manager):
    with pytest.raises(saeviz.ConfigError) as error:
        config_of(
            manager,
            {
                "selectr": {},
                "run": {"sed": 3},
                "images": {"use": "fake-images", "n": "many"},
                "extractor": {"use": "fake-extractr"},
                "embeddings": {"use": "fake-embedings"},
                "scorers": [{"use": "pearson-bh", "alpa": 0.05}, {"use": "monosemanticity"}],
                "labeler": {"retries": 3},
            },
        )
    lines = str(error.value).splitlines()
    assert len(lines) == 7, "that monosemanticity needs embeddings is no mistake of its own"
    assert "unknown table [selectr]; did you mean 'selector'?" in lines[0]
    assert "run.sed: unknown option; did you mean 'seed'?" in lines[1]
    assert "images.n: input should be a valid integer" in lines[2]
    assert "'many'" in lines[2]
    assert "extractor: no plugin offers the extractor 'fake-extractr'; did you mean 'fake-extractor'?" in lines[3]
    assert "embeddings: no plugin offers the embeddings 'fake-embedings'; did you mean 'fake-embeddings'?" in lines[4]
    assert "labeler: name a component, for example use" in lines[5]
    assert "scorers.0.alpa: unknown option; did you mean 'alpha'?" in lines[6]


def test_tables_of_the_wrong_shape_are_refused(manager):
    with pytest.raises(saeviz.ConfigError, match=r"\[images\] must be a table"):
        config_of(manager, {"images": "paintings"})
    with pytest.raises(saeviz.ConfigError, match=r"write \[\[scorers\]\]"):
        config_of(manager, {"scorers": ["pearson-bh"]})


def test_a_secret_comes_from_the_environment_and_is_never_written(manager):
    labeler = {"use": "keyed", "api_key": {"env": "MY_KEY"}}
    config = config_of(manager, {"labeler": labeler}, environment={"MY_KEY": "hunter2"})
    assert config.labeler.options.api_key.get_secret_value() == "hunter2"
    assert config.as_json()["labeler"]["api_key"] == {"env": "MY_KEY"}
    assert "hunter2" not in json.dumps(config.as_json()) + repr(config)


@pytest.mark.parametrize("given", ["hunter2", {"env": "UNSET"}, {"file": "hunter2"}, ["hunter2"]])
def test_a_secret_that_is_written_down_or_not_set_is_refused_without_showing_it(manager, given):
    with pytest.raises(saeviz.ConfigError, match=r"labeler\.api_key") as error:
        config_of(manager, {"labeler": {"use": "keyed", "api_key": given}})
    assert "hunter2" not in str(error.value)


def test_what_is_written_to_the_manifest_reads_back_the_same(manager):
    config = config_of(manager, {"labeler": {"use": "fake-labeler"}, "run": {"dir": "/runs/x", "seed": 4}})
    again = resolve([Layer(json.loads(json.dumps(config.as_json())), Path(), "run.json")], manager)
    assert again.as_json() == config.as_json()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[images", "not valid TOML"), (b"\xff\xfe\x00", "cannot be read"), (None, "no run file")],
)
def test_a_run_file_that_cannot_be_read_says_why(tmp_path, content, message):
    file = tmp_path / "art.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(saeviz.ConfigError, match=message):
        read_run_file(file)


def test_an_option_that_takes_a_list_says_so(manager):
    with pytest.raises(saeviz.ConfigError, match=r"scorers\.0\.ratings: input should be a list, not 'mood'"):
        config_of(manager, {"scorers": [{"use": "pearson-bh", "ratings": "mood"}]})


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        ({"images": {"use": "table", "path": 3}}, "images.path: input should be a path, not 3"),
        ({"extractor": {"user": "fake-extractor"}}, "extractor.user: unknown option; did you mean 'use'?"),
    ],
)
def test_a_mistake_is_said_without_words_of_python(manager, tables, line):
    with pytest.raises(saeviz.ConfigError) as error:
        config_of(manager, tables)
    assert line in str(error.value).splitlines()


def test_an_option_that_was_set_for_another_component_is_to_be_set_again(manager):
    flag = assignment_layer(["images.use=table"], Path("/base"))
    with pytest.raises(saeviz.ConfigError) as error:
        config_of(manager, {"images": {"use": "folder", "path": "a"}}, flag)
    assert str(error.value).splitlines() == [
        "images.path: field required",
        "images.path: the one that is set is of another component; set it for table, too",
    ]
