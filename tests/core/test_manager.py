"""Plugins: who takes part, what a broken one says, and the three ways in which a component can be out of reach."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import Field, model_validator

import saeviz
from saeviz.discovery.manager import Manager
from saeviz.discovery.sources import PluginChoice, Source

GOOD_FILE = """
import saeviz

class Ones:
    def __init__(self, options, context): pass
    def score(self, data):
        yield saeviz.ScoreColumn("ones", data.space, data.features.count_active() * 0 + 1)

@saeviz.hookimpl
def saeviz_scorers():
    yield saeviz.ScorerSpec(name="ones", summary="always one", factory=Ones)
"""


def add(manager: Manager, load, name: str = "mine") -> None:
    manager.add(Source(name, "a test", "1", bundled=False, load=load))


def plugin(**members) -> ModuleType:
    module = ModuleType("a_plugin")
    vars(module).update(members)
    return module


def scorers(*specs):
    @saeviz.hookimpl
    def saeviz_scorers():
        yield from specs

    return saeviz_scorers


def scorer(name: str, **details) -> saeviz.ScorerSpec:
    return saeviz.ScorerSpec(name=name, **{"summary": "a scorer", "factory": dict, **details})


def test_bundled_plugins_are_all_whole():
    manager = Manager.discover(PluginChoice.parse([""], Path()), strict=False)
    assert manager.problems == []
    assert all(source.bundled for source in manager.sources)
    assert {"npz", "json"} <= set(manager.names("store"))


@pytest.mark.slow
def test_every_bundled_component_can_be_imported():
    pytest.importorskip("anthropic", reason="not everything that plugins need is installed")
    pytest.importorskip("torch", reason="not everything that plugins need is installed")
    manager = Manager.discover(PluginChoice.parse([""], Path()))
    for offer in manager.offers.values():
        assert callable(manager.factory(offer))


def test_a_plugin_is_a_generator_of_specs():
    manager = Manager()
    add(manager, lambda: plugin(saeviz_scorers=scorers(scorer("one"), scorer("two"))))
    assert manager.problems == []
    assert manager.names("scorer") == ["one", "two"]


def broken_import():
    raise RuntimeError("no such planet")


def leaves():
    sys.exit(3)


@saeviz.hookimpl
def saeviz_scorrers():
    return []


@saeviz.hookimpl
def saeviz_stores():
    yield scorer("x")


@saeviz.hookimpl(specname="saeviz_scorers")
def fails_when_called():
    raise ZeroDivisionError("in the hook")


def saeviz_scorers():
    return []


@saeviz.hookimpl(specname="saeviz_scorers")
def gives_nothing():
    scorer("x")


@saeviz.hookimpl(specname="saeviz_scorers")
def takes_something(context):
    yield scorer("x")


class NotOptions:
    pass


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (broken_import, "RuntimeError: no such planet"),
        (leaves, "SystemExit: 3"),
        (
            lambda: plugin(saeviz_scorrers=saeviz_scorrers),
            "saeviz_scorrers, which is not a hook; did you mean 'saeviz_scorers'",
        ),
        (lambda: plugin(saeviz_scorers=saeviz_scorers), "saeviz_scorers lacks the marker @saeviz.hookimpl"),
        (plugin, "implements no hook"),
        (lambda: plugin(SAEVIZ_API=2, saeviz_scorers=scorers()), "plugin API 2, but this saeviz has 1; upgrade saeviz"),
        (
            lambda: plugin(saeviz_scorers=scorers("coverage")),
            "yields an object of type str; it must yield saeviz.ScorerSpec",
        ),
        (lambda: plugin(saeviz_scorers=scorers(dict)), "yields the class dict; it must yield saeviz.ScorerSpec(...)"),
        (lambda: plugin(saeviz_scorers=gives_nothing), "saeviz_scorers gives None; write yield saeviz.ScorerSpec(...)"),
        (
            lambda: plugin(saeviz_scorers=takes_something),
            "saeviz_scorers takes arguments, but a hook is called without",
        ),
        (lambda: plugin(saeviz_scorers=scorers(scorer("../x"))), "yields the name '../x'"),
        (lambda: plugin(saeviz_scorers=scorers(scorer("x", options=NotOptions))), "not a subclass of saeviz.Options"),
        (lambda: plugin(saeviz_scorers=scorers(scorer("x"), scorer("x"))), "scorer 'x' is already offered by"),
    ],
)
def test_a_broken_plugin_is_left_out_whole_with_its_reason(load, reason):
    manager = Manager()
    add(manager, lambda: plugin(saeviz_scorers=scorers(scorer("before"))), name="before")
    add(manager, load, name="broken")
    add(manager, lambda: plugin(saeviz_scorers=scorers(scorer("after"))), name="after")
    assert [problem.source.name for problem in manager.problems] == ["broken"]
    assert reason in str(manager.problems[0])
    assert manager.names("scorer") == ["before", "after"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import saeviz\n\nNAMES = sorted(none)", "NameError: name 'none' is not defined (mine.py, line 3)"),
        ("import saeviz\n\nimport no_such_package", "No module named 'no_such_package' (mine.py, line 3)"),
        ("import saeviz\n\n{}.copy().pop('x')", "KeyError: 'x' (mine.py, line 3)"),
        ("import saeviz\n\ndef f()", "(mine.py, line 3)"),
        ("import json, saeviz\n\njson.loads('{')", "(mine.py, line 3)"),
        (
            "import saeviz\n\nsaeviz.ScorerSpec(name='x')",
            "keyword-only arguments: 'summary' and 'factory' (mine.py, line 3)",
        ),
    ],
)
def test_of_a_plugin_that_cannot_be_imported_the_line_is_told(tmp_path, text, said):
    (tmp_path / "mine.py").write_text(text)
    [problem] = Manager.discover(PluginChoice.parse(["mine.py"], tmp_path), strict=False).problems
    assert problem.reason.endswith(said)


def test_a_hook_that_raises_withdraws_everything_of_its_plugin():
    @saeviz.hookimpl
    def saeviz_selectors():
        yield saeviz.SelectorSpec(name="fine", summary="fine", factory=dict)

    @saeviz.hookimpl
    def saeviz_scorers():
        raise ZeroDivisionError("in the hook")

    manager = Manager()
    add(manager, lambda: plugin(saeviz_selectors=saeviz_selectors, saeviz_scorers=saeviz_scorers))
    assert manager.offers == {}
    assert "ZeroDivisionError: in the hook" in manager.problems[0].reason
    assert "saeviz_scorers" in manager.problems[0].details


def test_a_taken_name_names_both_sides():
    manager = Manager.discover(PluginChoice.parse([""], Path()))
    add(manager, lambda: plugin(saeviz_scorers=scorers(scorer("pearson-bh"), scorer("other"))), name="greedy")
    message = str(manager.problems[0])
    assert "greedy" in message
    assert "plugin correlation (saeviz " in message
    assert "other" not in manager.names("scorer")


def test_strict_makes_a_broken_plugin_an_error(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("1/0")
    with pytest.raises(saeviz.PluginError, match="ZeroDivisionError"):
        Manager.discover(PluginChoice.parse([str(file)], tmp_path), strict=True)
    assert len(Manager.discover(PluginChoice.parse([str(file)], tmp_path), strict=False).problems) == 1


def test_a_file_is_a_plugin(tmp_path):
    (tmp_path / "my_scorers.py").write_text(GOOD_FILE)
    manager = Manager.discover(PluginChoice.parse(["./my_scorers.py"], tmp_path))
    assert "ones" in manager.names("scorer")


def test_an_edited_file_has_another_version(tmp_path):
    file = tmp_path / "my_scorers.py"
    file.write_text(GOOD_FILE)
    before = PluginChoice.parse(["./my_scorers.py"], tmp_path).extra[0].version
    file.write_text(GOOD_FILE + "\n")
    assert PluginChoice.parse(["./my_scorers.py"], tmp_path).extra[0].version != before


def test_an_edited_file_is_what_runs_even_if_its_size_and_time_are_those_of_before(tmp_path, monkeypatch):
    """Python takes bytecode for current by the size and the second of the source."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "my_scorers.py"
    for name in ("ones", "twos"):
        file.write_text(GOOD_FILE.replace('"ones"', f'"{name}"'))
        os.utime(file, (1, 1))
        manager = Manager.discover(PluginChoice.parse(["./my_scorers.py"], tmp_path))
        assert name in manager.names("scorer")
    assert not (tmp_path / "__pycache__").exists()


def test_the_words_of_a_choice():
    choice = PluginChoice.parse(["lance, clip2", "no:slow", "module:my.plugin"], Path("/base"))
    assert choice.only == {"lance", "clip2"}
    assert choice.without == {"slow"}
    assert [source.name for source in choice.extra] == ["my.plugin"]
    assert PluginChoice.parse(["no:slow"], Path()).only is None
    assert PluginChoice.parse([""], Path()).only == frozenset()


def test_a_bundled_plugin_stays_unless_it_is_left_out_by_name():
    assert "npz" in Manager.discover(PluginChoice.parse(["json"], Path())).names("store")
    without = Manager.discover(PluginChoice.parse(["no:npz"], Path()))
    assert "npz" not in without.names("store")
    assert [source.name for source in without.left_out if source.bundled] == ["npz"]


@pytest.mark.parametrize(("word", "message"), [("jsn", "did you mean 'json'"), ("./none.py", "--plugins: no file")])
def test_an_unknown_plugin_is_a_usage_error(word, message):
    with pytest.raises(saeviz.ConfigError, match=message):
        Manager.discover(PluginChoice.parse([word], Path()))


def test_unknown_missing_dependency_and_failing_module_are_three_messages(tmp_path, monkeypatch):
    (tmp_path / "failing_module.py").write_text("raise ImportError('half an install')")
    monkeypatch.syspath_prepend(tmp_path)
    manager = Manager()
    specs = (
        scorer("lacking", factory="json:loads", needs=("no_such_package",), install="saeviz-lacking"),
        scorer("failing", factory="failing_module:Scorer"),
        scorer("absent", factory="json:Scorer"),
    )
    add(manager, lambda: plugin(saeviz_scorers=scorers(*specs)))
    with pytest.raises(saeviz.ConfigError, match="no plugin offers the scorer 'laking'; did you mean 'lacking'"):
        manager.offer("scorer", "laking")
    with pytest.raises(saeviz.PluginError, match=r"needs no_such_package.*pip install .saeviz-lacking."):
        manager.build("scorer", "lacking", {}, saeviz.Context())
    with pytest.raises(saeviz.PluginError, match="ImportError: half an install"):
        manager.build("scorer", "failing", {}, saeviz.Context())
    with pytest.raises(saeviz.PluginError, match="json:Scorer fails with AttributeError"):
        manager.build("scorer", "absent", {}, saeviz.Context())


def test_a_component_that_is_lacking_is_told_with_why_plugins_were_left_out():
    manager = Manager()
    add(manager, broken_import, name="lance")
    add(manager, plugin, name="duck")
    reason = "plugin lance (a test) is left out: it fails with RuntimeError: no such planet"
    for name, others in (("lance", False), ("other", True)):
        with pytest.raises(saeviz.ConfigError) as error:
            manager.offer("store", name)
        assert reason in str(error.value)
        assert ("plugin duck (a test) is left out: it implements no hook" in str(error.value)) == others


def test_a_component_whose_plugin_the_user_left_out_is_told_so():
    manager = Manager.discover(PluginChoice.parse(["no:npz"], Path()))
    with pytest.raises(saeviz.ConfigError, match=r"plugin npz \(saeviz .*\) is left out, as --plugins, SAEV"):
        manager.offer("store", "npz")


def test_command_line_and_run_file_add_up_and_no_takes_away(tmp_path, monkeypatch):
    for name in ("mine", "yours"):
        (tmp_path / f"{name}.py").write_text(GOOD_FILE.replace('"ones"', f'"{name}"'))
    run_file = (["./mine.py", "json"], tmp_path)
    both = PluginChoice.of_all([str(tmp_path / "yours.py"), "clip2"], run_file)
    assert [source.name for source in both.extra] == ["mine", "yours"]
    assert both.only == {"json", "clip2"}
    assert both.words == (str(tmp_path / "mine.py"), "json", str(tmp_path / "yours.py"), "clip2")
    again = PluginChoice.parse(both.words, Path())
    assert [source.origin for source in again.extra] == [source.origin for source in both.extra], "for workers"
    twice = PluginChoice.of_all([str(tmp_path / "mine.py")], run_file)
    assert [source.name for source in twice.extra] == ["mine"]
    less = Manager.discover(PluginChoice.of_all(["no:mine"], (["./mine.py"], tmp_path)))
    assert [source.name for source in less.left_out] == ["mine"]
    monkeypatch.setenv("SAEVIZ_PLUGINS", "json")
    assert PluginChoice.of_all(None, (["./mine.py"], tmp_path)).words == (str(tmp_path / "mine.py"), "json")
    assert PluginChoice.of_all(["clip2"], (["./mine.py"], tmp_path)).only == {"json", "clip2"}, "all three add up"
    monkeypatch.setenv("SAEVIZ_PLUGINS", "./none.py")
    with pytest.raises(saeviz.ConfigError, match=r"^SAEVIZ_PLUGINS: no file .*none\.py"):
        PluginChoice.of_all(["json"], None)
    monkeypatch.setenv("SAEVIZ_PLUGINS", "json")
    assert PluginChoice.of_all(None, None).only == {"json"}


class BreaksItsBound(saeviz.Options):
    alpha: float = Field(2.0, le=1)


class NeedsAPath(saeviz.Options):
    path: Path
    alpha: float = Field(0.5, le=1)

    @model_validator(mode="after")
    def check(self):
        raise ValueError("set more")


class Unwritable(saeviz.Options):
    x: object = Field(default_factory=object)


class NoInit:
    def score(self, data): ...


def of_one(options): ...


OF_ONE_NAME = (saeviz.ColumnInfo("p", option="permute"), saeviz.ColumnInfo("p", option="exact"))


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"factory": NoInit}, "factory of 'x': a factory is called with (options, context), and NoInit takes ();"),
        ({"factory": of_one}, "factory of 'x': a factory is called with (options, context), and of_one takes (op"),
        ({"options": Unwritable}, "the defaults of 'x' cannot be written as JSON, as those of a run are: Unable to"),
        ({"columns": ("r", "r")}, "'x' declares the column 'r' more than once"),
        ({"pair_columns": ("r", saeviz.ColumnInfo("r"))}, "'x' declares the column 'r' more than once"),
        ({"options": BreaksItsBound}, "the default of the option 'alpha' of 'x' is 2.0, which the option does"),
        ({"name": 7}, "saeviz_scorers yields the name 7"),
        ({"summary": None}, "summary of 'x' is None, not text"),
        ({"factory": None}, "factory of 'x' is None, neither 'package.module:name' nor a function or class"),
        ({"factory": "mine.Scorer"}, "factory of 'x' is 'mine.Scorer', neither 'package.module:name'"),
        ({"needs": "torch"}, "needs of 'x' is 'torch', not a tuple of text"),
        ({"cites": ("Roe (2024)",)}, "cites of 'x' is ('Roe (2024)',), not a tuple of saeviz.Citation"),
        ({"columns": "r"}, "columns of 'x' is 'r', not a tuple of text"),
        ({"columns": ("",)}, "columns of 'x' is ('',), not a tuple of text"),
        ({"uses_embeddings": "no"}, "uses_embeddings of 'x' is 'no', not True or False"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_spec_is_the_authors_and_told_when_it_is_loaded(details, reason):
    manager = Manager()
    add(manager, lambda: plugin(saeviz_scorers=scorers(scorer(**{"name": "x", **details}))))
    assert reason in str(manager.problems[0])
    add(manager, lambda: plugin(saeviz_scorers=scorers(scorer("y", options=NeedsAPath, columns=OF_ONE_NAME))), "fine")
    assert manager.names("scorer") == ["y"], "what a run file lacks is no mistake of the author"


def test_a_factory_that_is_named_is_looked_at_when_it_is_imported_before_any_stage():
    manager = Manager()
    lazy = [scorer("x", factory=f"{__name__}:NoInit"), scorer("y", factory="collections:OrderedDict")]
    add(manager, lambda: plugin(saeviz_scorers=scorers(*lazy)))
    with pytest.raises(saeviz.PluginError) as error:
        manager.load_all([("scorer", "x", "scorers.0"), ("scorer", "y", "scorers.1")])
    said = (
        "a factory is called with (options, context), and NoInit takes (); give it def __init__(self, options, context)"
    )
    assert str(error.value) == f"scorers.0: the scorer 'x' of plugin mine (a test): {said}"


class AsksForMore(saeviz.Options):
    path: str = ""

    @model_validator(mode="after")
    def check(self):
        raise saeviz.ConfigError("give a path")


def test_what_a_plugin_makes_wrongly_while_it_is_loaded_is_its_own_mistake():
    """An error of saeviz's own in its code is no other error of the command that happens to load it."""

    @saeviz.hookimpl
    def saeviz_scorers():
        yield scorer("x", columns=(saeviz.ColumnInfo("x", better="up"),))

    def damaged():
        raise saeviz.DataError("weights are missing")

    manager = Manager()
    add(manager, lambda: plugin(saeviz_scorers=saeviz_scorers))
    add(manager, damaged, name="other")
    add(manager, lambda: plugin(saeviz_scorers=scorers(scorer("y", options=AsksForMore))), name="fine")
    assert [problem.source.name for problem in manager.problems] == ["mine", "other"]
    assert "it fails: column 'x': better is 'up', not 'higher'" in str(manager.problems[0])
    assert "it fails: weights are missing" in str(manager.problems[1])
    assert manager.names("scorer") == ["y"]
