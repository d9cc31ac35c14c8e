"""The command line as a newcomer meets it: clear sentences, the right exit codes, never a traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import saeviz
from saeviz import ExitCode
from saeviz.config.layers import Layer
from saeviz.config.resolve import resolve
from saeviz.discovery.manager import Manager
from tests.conftest import FAKES, WITHOUT_MODELS, run_process


def test_run_says_where_the_report_is(saeviz_command, fake_run):
    ended = saeviz_command("run", fake_run)
    assert ended.code == ExitCode.DONE, ended
    assert [Path(line).is_file() for line in ended.out.splitlines()] == [True]
    assert "extract: 24 of 24 images" in ended.err


def test_quiet_says_nothing_but_warnings(saeviz_command, fake_run):
    assert saeviz_command("run", "-q", fake_run).err == ""


def test_partial(saeviz_command, fake_run):
    ended = saeviz_command("run", fake_run, "--set", "images.broken=1")
    assert ended.code == ExitCode.PARTIAL
    assert "1 left out" in ended.err
    lines = (fake_run.parent / "runs/fake/failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["subject"] for line in lines] == ["picture/23"]


def test_flags_win_over_set_environment_and_file(saeviz_command, fake_run, monkeypatch):
    fake_run.write_text(fake_run.read_text() + "\n[run]\nseed = 1\n")

    def seed(*flags: str) -> int:
        assert saeviz_command("run", fake_run, "--until", "extract", *flags).code == ExitCode.DONE
        return json.loads((fake_run.parent / "runs/fake/run.json").read_text())["config"]["run"]["seed"]

    assert seed() == 1
    monkeypatch.setenv("SAEVIZ_RUN__SEED", "2")
    assert seed() == 2
    assert seed("--set", "run.seed=3") == 3
    monkeypatch.setenv("SAEVIZ_RUN__DEVICE", "meta")
    assert saeviz_command("check", fake_run, "--device", "cpu").code == ExitCode.DONE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "nothing to run: give a run file"),
        (["run", "none.toml"], "no run file none.toml; `saeviz init none.toml` writes one"),
        (["run", "fake.toml", "--set", "scorers.1.alpa=1"], "scorers.1.alpa: unknown option; did you mean"),
        (["run", "fake.toml", "--set", "store.use=npx"], "no plugin offers the store 'npx'; did you mean 'npz'?"),
        (["run", "fake.toml", "--plugins", "nope"], "no installed plugin is called 'nope'"),
        (["run", "fake.toml", "--set", "images.n=0"], "has no images"),
        (["run", "fake.toml", "--from", "score"], "the stage extract is not finished"),
        (["run", "fake.toml", "--until", "everything"], "everything"),
        (["run", "fake.toml", "--limit", "0"], "0"),
        (["run", "--images", "no-such-folder", *WITHOUT_MODELS], "no-such-folder"),
        (["plugins", "store"], "write ROLE:NAME"),
        (["plugins", "shop:npz"], "unknown role 'shop'"),
        (["plugins", "store:npx"], "did you mean 'npz'"),
        (["show", "layer1.cls/0"], "name one with --run DIR"),
        (["notes"], "name one with saeviz notes RUN"),
        (["paper"], "name one with saeviz paper RUN"),
        (["show", "layer1.cls/0", "--run", "nowhere"], "nowhere is not a run directory"),
        (["frobnicate"], "No such command"),
    ],
)  # fmt: skip
def test_a_mistake_gets_a_sentence_and_its_exit_code(saeviz_command, fake_run, arguments, message):
    ended = saeviz_command(*arguments)
    assert message in ended.err.replace("\n", " "), ended
    assert ended.code == (
        ExitCode.FAILED if "has no images" in message or "--images" in arguments else ExitCode.USAGE
    ), ended


def test_a_broken_plugin_is_one_line_and_does_not_disturb(saeviz_command, fake_run, tmp_path, monkeypatch):
    monkeypatch.delenv("SAEVIZ_STRICT_PLUGINS")
    (tmp_path / "broken.py").write_text("raise OSError('out of tune')")
    ended = saeviz_command("run", fake_run, "--plugins", FAKES, "--plugins", "./broken.py")
    assert ended.code == ExitCode.DONE, ended
    assert sum("out of tune" in line for line in ended.err.splitlines()) == 1


def test_a_dependency_that_is_missing_says_how_to_get_it(saeviz_command, fake_run, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import saeviz\n"
        "@saeviz.hookimpl\n"
        "def saeviz_scorers():\n"
        "    yield saeviz.ScorerSpec(name='needy', summary='needs much', factory='needy:X', needs=('no_such_thing',),\n"
        "                            install='saeviz-needy')\n"
    )
    ended = saeviz_command("run", fake_run, "--plugins", f"{FAKES},./mine.py", "--set", 'scorers=[{use="needy"}]')
    assert ended.code == ExitCode.USAGE
    assert "needs no_such_thing, which is not installed: pip install 'saeviz-needy'" in ended.err


def first_selected(run_file: Path) -> str:
    return str(saeviz.open_run(run_file.parent / "runs/fake", plugins=[FAKES]).selected[0].feature)


@pytest.mark.parametrize(
    ("words", "right"),
    [
        (["show", "runs/fake"], "saeviz show FEATURE --run runs/fake (its selected.csv lists the selected features)"),
        (["show", "layer1.cls/3", "runs/fake"], "saeviz show layer1.cls/3 --run runs/fake"),
        (["show", "runs/fake", "layer1.cls/3", "--json"], "saeviz show layer1.cls/3 --json --run runs/fake"),
        (["heatmap", "layer1.cls/3", "runs/fake"], "saeviz heatmap layer1.cls/3 ITEM --run runs/fake"),
        (["heatmap", "layer1.cls/3", "a", "runs/fake"], "saeviz heatmap layer1.cls/3 a --run runs/fake"),
    ],
    ids=" ".join,
)
def test_a_run_directory_that_is_given_as_an_argument(saeviz_command, finished_run, words, right):
    ended = saeviz_command(*words)
    assert ended.code == ExitCode.USAGE
    assert ended.err.splitlines()[0] == f"saeviz: runs/fake is a run directory, which an option names: {right}"


def test_an_argument_that_no_file_can_be_called_is_no_run_directory(saeviz_command, finished_run):
    assert saeviz_command("show", "layer1.cls/3", "a" * 9999).code == ExitCode.USAGE


def test_an_in_house_scorer_is_one_file(saeviz_command, fake_run, tmp_path):
    (tmp_path / "my_scorers.py").write_text(
        "import saeviz\n"
        "class Coverage:\n"
        "    def __init__(self, options, context): ...\n"
        "    def score(self, data):\n"
        "        yield saeviz.ScoreColumn('coverage', data.space, data.features.count_active() / data.n_items)\n"
        "@saeviz.hookimpl\n"
        "def saeviz_scorers():\n"
        "    yield saeviz.ScorerSpec(name='coverage', summary='share of images it fires on', factory=Coverage)\n"
    )
    scorers = 'scorers=[{use="monosemanticity"}, {use="pearson-bh"}, {use="coverage"}]'
    words = ["--plugins", FAKES, "--plugins", "./my_scorers.py", "--set", scorers, "--set", 'reporters=[{use="html"}]']
    ended = saeviz_command("run", fake_run, *words)
    assert ended.code == ExitCode.DONE, ended
    page = Path(ended.out.strip())
    assert any("coverage" in file.read_text() for file in page.parent.rglob("run.js"))
    shown = saeviz_command("show", first_selected(fake_run), "--json").json()
    assert shown["scores"]["coverage"] == pytest.approx(shown["scores"]["n_active"] / 24)


def test_check_writes_nothing(saeviz_command, fake_run):
    ended = saeviz_command("check", fake_run, "--set", "images.unrated=4")
    assert ended.code == ExitCode.DONE
    assert "warmth: 20 images" in ended.out
    assert "4 images have no ratings" in ended.err
    assert not (fake_run.parent / "runs").exists()


def test_check_as_json(saeviz_command, fake_run):
    found = saeviz_command("check", fake_run, "--json").json()
    assert {"place": "scorers.1", "use": "pearson-bh"} in found["components"]
    assert (found["images"], found["ratings"]) == (24, {"warmth": 24, "noise": 24})
    assert found["run_dir"].endswith("runs/fake")
    assert "health" not in found


CHECKABLE = """
import saeviz
from saeviz.testing.fakes import FakeExtractor, FakeExtractorOptions

class Checked(FakeExtractor):
    def health(self, items):
        for item in items:
            try:
                item.open()
            except saeviz.ImageError as error:
                self.context.failed(item.item_id, str(error))
        wrong = (f"layer 1: it is off by far, on {len(items)} images",) if self.options.layers == (7,) else ()
        ids = [int(item.item_id.rpartition("/")[2]) for item in items]
        figures = saeviz.Figure("sum of ids", sum(ids), 276.0), saeviz.Figure("nothing", float("nan"))
        yield saeviz.Health("layer 1", figures, wrong)

@saeviz.hookimpl
def saeviz_feature_extractors():
    yield saeviz.FeatureExtractorSpec(
        name="checked", summary="checks itself", options=FakeExtractorOptions, factory=Checked)
"""


@pytest.fixture
def deep(saeviz_command, fake_run, tmp_path):
    """`check --deep` of a run whose extractor can check itself."""
    (tmp_path / "checked.py").write_text(CHECKABLE)
    words = ["--plugins", f"{FAKES},./checked.py", "--set", "extractor.use=checked", "--deep"]
    return lambda *arguments: saeviz_command("check", fake_run, *words, *arguments)


def test_check_deep_shows_what_the_extractor_measured(deep, tmp_path):
    ended = deep()
    assert ended.code == ExitCode.DONE, ended
    assert "warmth: 24 images" in ended.out
    assert "measured  published" in ended.out
    assert re.search(r"sum of ids +276\.0 +276\.0", ended.out)
    assert re.search(r"nothing +- +-", ended.out)
    assert not (tmp_path / "runs").exists()


def test_check_deep_looks_at_a_few_images_from_everywhere(deep):
    (health,) = deep("--sample", "4", "--json").json()["health"]
    assert health == {
        "subject": "layer 1",
        "figures": [
            {"name": "sum of ids", "measured": 0 + 6 + 12 + 18, "published": 276.0},
            {"name": "nothing", "measured": None, "published": None},
        ],
        "warnings": [],
    }


def test_check_deep_fails_where_figures_are_far_off(deep):
    ended = deep("--set", "extractor.layers=[7]")
    assert ended.code == ExitCode.FAILED
    assert "saeviz: warning: layer 1: it is off by far, on 24 images" in ended.err
    assert json.loads(deep("--set", "extractor.layers=[7]", "--json").out)["health"][0]["warnings"]


def test_check_deep_writes_nothing_of_an_unreadable_image_either(deep, tmp_path):
    ended = deep("--set", "images.broken=1")
    assert "picture/23: left out" in ended.err
    assert not (tmp_path / "runs").exists()


def test_check_deep_needs_an_extractor_that_can(saeviz_command, fake_run):
    ended = saeviz_command("check", fake_run, "--deep")
    assert ended.code == ExitCode.USAGE
    assert "--deep: the extractor fake-extractor does not support deep checks" in ended.err


def test_notes_of_a_component_are_shown(saeviz_command, tmp_path):
    (tmp_path / "noted.py").write_text(
        "import saeviz\n"
        "@saeviz.hookimpl\n"
        "def saeviz_scorers():\n"
        "    yield saeviz.ScorerSpec(name='noted', summary='s', factory='x:y', notes=lambda: ['a note', 'another'])\n"
        "    yield saeviz.ScorerSpec(name='broken', summary='s', factory='x:y', notes='no_such_module:notes')\n"
        "    yield saeviz.ScorerSpec(name='failing', summary='s', factory='x:y', notes=lambda: 1 / [])\n"
    )
    ended = saeviz_command("plugins", "scorer:noted", "--plugins", "./noted.py")
    assert ended.out.endswith("a note\nanother\n")
    assert saeviz_command("plugins", "scorer:noted", "--json", "--plugins", "./noted.py").json()["notes"] == [
        "a note",
        "another",
    ]
    for name, says in (("broken", "no_such_module:notes fails"), ("failing", "notes of the scorer 'failing' of")):
        ended = saeviz_command("plugins", f"scorer:{name}", "--plugins", "./noted.py")
        assert ended.code == ExitCode.PLUGIN
        assert says in ended.err


def test_plugins_lists_one_component_with_its_options(saeviz_command):
    shown = saeviz_command("plugins", "scorer:pearson-bh")
    assert "alpha" in shown.out
    assert "0.05" in shown.out
    schema = saeviz_command("plugins", "scorer:pearson-bh", "--json").json()
    assert schema["options"]["properties"]["min_active"]["default"] == 10


@pytest.mark.slow
def test_plugins_as_json(saeviz_command):
    pytest.importorskip("anthropic", reason="not everything that plugins need is installed")
    pytest.importorskip("torch", reason="not everything that plugins need is installed")
    listing = saeviz_command("plugins", "--json", "--check", "--plugins", "").json()
    assert {"role": "store", "name": "npz"}.items() <= next(
        c for c in listing["components"] if c["name"] == "npz"
    ).items()
    assert all(component["bundled"] and component["problem"] is None for component in listing["components"])
    assert listing["left_out"] == []


def test_init_writes_a_run_file_that_check_accepts(saeviz_command, tmp_path):
    from PIL import Image

    pytest.importorskip("torch", reason="what a run needs by default is not installed")
    assert saeviz_command("init", "art.toml").code == ExitCode.DONE
    tables = tomllib.loads((tmp_path / "art.toml").read_text())
    assert tables["extractor"] == {"use": "clip-b32-prisma"}
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    (tmp_path / "ratings.csv").write_text("file,joy\na.png,3\n")
    assert saeviz_command("check", "art.toml").code == ExitCode.DONE
    again = saeviz_command("init", "art.toml")
    assert again.code == ExitCode.USAGE
    assert "already exists" in again.err


def test_init_without_a_name_writes_saeviz_toml(saeviz_command, tmp_path):
    assert saeviz_command("init").code == ExitCode.DONE
    assert (tmp_path / "saeviz.toml").is_file()


def test_the_defaults_that_init_shows_are_the_defaults(saeviz_command, tmp_path):
    saeviz_command("init", "art.toml")
    text = (tmp_path / "art.toml").read_text()
    spelled_out = re.sub(r"^# (\w+ = .+|\[labeler\]|\[second_embeddings\])$", r"\1", text, flags=re.MULTILINE)
    assert tomllib.loads(spelled_out)["scorers"][1]["alpha"] == 0.05
    manager = Manager.discover()
    short, long = (
        resolve([Layer(tomllib.loads(content), tmp_path, "art.toml")], manager).as_json()
        for content in (text, spelled_out)
    )
    for table in ("labeler", "second_embeddings"):
        assert long.pop(table) != short.pop(table)
    assert (long.pop("judge"), short.pop("judge")) == ({"use": "labeler"}, {"use": "none"})
    assert long == short


def test_show_tells_all_about_a_feature(saeviz_command, finished_run):
    name = first_selected(finished_run)
    text = saeviz_command("show", name).out
    assert text.startswith(name)
    found = saeviz_command("show", name, "--json").json()
    assert {row["rating"] for row in found["correlations"]} == {"warmth", "noise"}
    assert found["top_images"][0]["item_id"] in text
    assert found["label"] in text
    assert found["scores"]["ms_note"] == ""
    assert "ms_note" not in text
    assert "significant 1" not in text
    assert "significant 0" not in text
    assert ("not significant" in text) == any(row["significant"] == 0 for row in found["correlations"])


def test_show_says_that_a_feature_fires_on_no_image(saeviz_command, fake_run):
    saeviz_command("run", fake_run, "--limit", "3")
    scores = saeviz.open_run(fake_run.parent / "runs/fake", plugins=[FAKES]).scores
    silent = scores[scores["n_active"] == 0].iloc[0]
    text = saeviz_command("show", f"layer{silent['layer']}.{silent['tokens']}/{silent['feature']}").out
    assert text.splitlines()[-1] == "  top images: none; the feature fires on no image"


def test_show_names_the_features_that_fire_together_with_it(saeviz_command, fake_run, tmp_path):
    """An in-house scorer that puts every third feature of all spaces into one cluster."""
    (tmp_path / "thirds.py").write_text(
        "import numpy as np, saeviz\n"
        "class Thirds:\n"
        "    def __init__(self, options, context): ...\n"
        "    def score(self, data):\n"
        "        numbers = np.arange(data.space.n_features)\n"
        "        yield saeviz.ScoreColumn('cluster', data.space, np.where(numbers % 3, np.nan, 7.0))\n"
        "@saeviz.hookimpl\n"
        "def saeviz_scorers():\n"
        "    yield saeviz.ScorerSpec(name='thirds', summary='every third feature', factory=Thirds)\n"
    )
    words = ["--plugins", FAKES, "--plugins", "./thirds.py", "--set", 'scorers=[{use="thirds"}]']
    assert saeviz_command("run", fake_run, *words).code == ExitCode.DONE
    run = saeviz.open_run(tmp_path / "runs/fake")
    thirds = {str(space.feature(number)) for space in run.spaces for number in range(0, space.n_features, 3)}

    first = str(run.spaces[0].feature(3))
    found = saeviz_command("show", first, "--json").json()
    assert set(found["fires_together_with"]) == thirds - {first}
    n_active = run.scores.set_index(saeviz.KEYS)["n_active"]
    counts = [n_active[other.sae, other.layer, other.tokens, other.index] for other in run.companions(first)]
    assert counts == sorted(counts, reverse=True)
    text = saeviz_command("show", first).out
    assert f"fires together with: {found['fires_together_with'][0]}, " in text
    assert f" and {len(thirds) - 11} more\n" in text
    assert "cluster: " not in text
    assert run.companions(run.spaces[0].feature(4)) == []
    assert "fires together" not in saeviz_command("show", str(run.spaces[0].feature(4))).out


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_directory_that_cannot_be_written(tmp_path, fake_run):
    """Root may write everywhere, so the directory is put below a file system that nobody may write to."""
    if not Path("/proc/1").exists():
        pytest.skip("there is no /proc here")
    ended = run_process("run", fake_run, "--out", "/proc/saeviz", cwd=tmp_path)
    assert ended.code == ExitCode.FAILED, ended
    assert "/proc/saeviz cannot be written" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.slow
def test_no_space_left(tmp_path, fake_run):
    """A file-size limit of the process stands in for a full disk: every large write fails in the system call."""
    script = (
        "import resource, signal, runpy, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)); sys.argv[0] = 'saeviz';"
        "runpy.run_module('saeviz', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", script, "run", str(fake_run)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.FAILED, done.stderr
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert run_process("run", fake_run, cwd=tmp_path).code == ExitCode.DONE, "with space again the run goes on"


def test_output_into_a_closed_pipe_is_no_error(tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("needs bash for a pipeline")
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{sys.executable}' -m saeviz plugins --json | head -1"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode == 0
