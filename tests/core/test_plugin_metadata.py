"""What can be said of plugins without importing them, what they need, and who was asked for what."""

from __future__ import annotations

import json
import re
import sys

import pytest
from click.testing import CliRunner

import saeviz
from saeviz.cli import saeviz as saeviz_cli
from tests.conftest import FAKES

PLUGIN = """
import sys
import saeviz
sys.modules["imported_NAME"] = sys

@saeviz.hookimpl
def saeviz_scorers():
    yield saeviz.ScorerSpec(name="NAME", summary="a scorer", factory=dict, needs=("json",), install="saeviz[map]")
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a distribution where Python finds it, as pip would, with its plugin."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    imported = []

    def install(name, *requires, entry="", group="saeviz", code=PLUGIN, url=None):
        module = f"saeviz_{name}"
        imported.extend([module, f"imported_{name}"])
        info = tmp_path / "site" / f"{module}-1.5.dist-info"
        info.mkdir(parents=True)
        lines = [f"Name: saeviz-{name}", "Version: 1.5", *(f"Requires-Dist: {one}" for one in requires)]
        (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, ""]))
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {entry or module}\n")
        (info / "RECORD").write_text(f"{module}.py,,\n{info.name}/METADATA,,\n")
        if url:
            (info / "direct_url.json").write_text(json.dumps(url))
        if code:
            (tmp_path / "site" / f"{module}.py").write_text(code.replace("NAME", name))
        return name

    yield install
    for name in imported:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("requires", "details", "said"),
    [
        (
            ["saeviz~=9.0"],
            {},
            "made for saeviz~=9.0, but this is saeviz 0.1.0; pip install --upgrade 'saeviz-one'",
        ),
        ([], {"code": ""}, "its module 'saeviz_one' is not there; pip install --force-reinstall 'saeviz-one'"),
        (
            [],
            {"entry": "saeviz_onne"},
            "its module 'saeviz_onne' is not there; it has 'saeviz_one': correct the entry point in pyproject.toml",
        ),
        ([], {"entry": "saeviz_one:"}, "its entry point 'saeviz_one:' is not a module; write one = 'package'"),
        (
            [],
            {"code": PLUGIN.replace("saeviz_scorers()", "saeviz_scorrers()")},
            "it implements saeviz_scorrers, which is not a hook; did you mean 'saeviz_scorers'?",
        ),
    ],
)
def test_what_cannot_work_is_left_out_without_running_its_code(install, saeviz_command, requires, details, said):
    install("one", *requires, **details)
    listed = saeviz_command("plugins", "--plugins", "one")
    assert listed.code == saeviz.ExitCode.PLUGIN
    assert f"plugin one (saeviz-one 1.5) is left out: {said}" in listed.err
    assert "imported_one" not in sys.modules


def test_a_plugin_that_lacks_what_it_requires_says_how_to_get_it(install, saeviz_command):
    install("one", "saeviz>=0.1", "no-such-thing>=2", "other; extra == 'test'", code="import no_such_thing\n")
    listed = saeviz_command("plugins", "--plugins", "one")
    assert "it requires no-such-thing>=2: pip install 'no-such-thing>=2'; --verbose shows the traceback" in listed.err
    assert "Traceback" not in listed.err
    shown = CliRunner().invoke(saeviz_cli, ["plugins", "--plugins", "one", "--verbose"])
    assert "Traceback" in shown.stderr


def test_plugins_are_listed_with_what_they_offer_and_where_they_are(install, saeviz_command, tmp_path):
    install("one", url={"url": "https://example.org/one.whl", "archive_info": {}})
    install("two")
    install("lost", group="saeviz.plugins")
    listed = saeviz_command("plugins", "--plugins", "one,two")
    assert "  one  saeviz-one 1.5, from https://example.org/one.whl: scorer:one" in listed.out
    assert f"  two  saeviz-two 1.5, in {tmp_path / 'site'}" in listed.out
    assert "saeviz-lost 1.5 declares entry points in the group 'saeviz.plugins', which" in listed.err
    assert listed.code == saeviz.ExitCode.PLUGIN
    found = saeviz_command("plugins", "--json").json()
    assert {"one", "two"} <= {one["plugin"] for one in found["plugins"]}
    assert len(found["unread"]) == 1


def test_what_a_component_lacks_is_listed_with_how_to_get_it(install, saeviz_command):
    install("one", code=PLUGIN.replace('needs=("json",), install="saeviz[map]"', 'needs=("no_such_thing",)'))
    install("two", code=PLUGIN.replace('"json"', '"no_such_thing"'))
    listed = saeviz_command("plugins", "--plugins", "one,two").out
    assert "(lacks no_such_thing: pip install 'no_such_thing')" in listed
    assert "(lacks no_such_thing: pip install 'saeviz[map]')" in listed


def test_requirements_are_those_of_a_run_file_or_of_all_that_is_here(install, saeviz_command, fake_run):
    git = {"url": "https://example.org/one", "vcs_info": {"vcs": "git", "commit_id": "abc123"}}
    install("one", url=git)
    install("two", url={"url": "https://example.org/two.whl", "archive_info": {}})
    install("three", code=PLUGIN.replace("saeviz[map]", "saeviz-three[gpu]"))
    listed = saeviz_command("plugins", "--requirements", "--plugins", "one,two,three").out.splitlines()
    assert listed[1:] == [
        "saeviz-one @ git+https://example.org/one@abc123",
        "saeviz-three[gpu]==1.5",
        "saeviz-two @ https://example.org/two.whl",
    ]
    assert re.match(r"saeviz\[.*map.*\]==0\.1\.0", listed[0])
    fake_run.write_text(fake_run.read_text() + '[[scorers]]\nuse = "two"\n')
    listed = saeviz_command("plugins", "--requirements", fake_run, "--plugins", f"one,two,{FAKES}").out.splitlines()
    assert listed[0] == "# module saeviz.testing.fakes is no package: it has to be there"
    assert listed[1].startswith("saeviz[map]==0.1.0")
    assert listed[2:] == ["saeviz-two @ https://example.org/two.whl"]


def test_who_was_asked_for_what_is_traced(saeviz_command, fake_run, monkeypatch):
    assert "trace:" not in saeviz_command("run", fake_run, "--until", "extract").err
    monkeypatch.setenv("SAEVIZ_TRACE", "1")
    lines = saeviz_command("run", fake_run, "--redo", "extract").err.splitlines()
    traced = [line for line in lines if line.startswith("trace: ")]
    assert all(re.match(r"trace: +\d+\.\d{3} s  \S", line) for line in traced)
    for words in (
        "plugin npz (saeviz 0.1.0): hooks",
        "extractor: fake-extractor of plugin saeviz.testing.fakes (module saeviz.testing.fakes): build",
        "extractor: fake-extractor of plugin saeviz.testing.fakes (module saeviz.testing.fakes): extract(",
        "gave 2",
        "labeler: fake-labeler of plugin saeviz.testing.fakes (module saeviz.testing.fakes): label(LabelRequest",
    ):
        assert any(words in line for line in traced), words
