"""Formats of SAEs and SAEs known by name that other packages add by entry points; broken ones are named."""

from __future__ import annotations

import json
import re
import sys

import pytest
import torch

import saeviz
from saeviz import DataError, ExitCode, PluginError
from saeviz.cli import main
from saeviz.discovery.extensions import extensions
from saeviz.toolkit.sae import SAESource, default_saes, find, known, read_sae, table_of
from tests.plugins.vit.conftest import sae_weights

FORMAT = """
import json
from saeviz.toolkit.sae import SAEConfig, SAEWeights

CONFIG_NAMES = ("lab.json",)
WEIGHTS_NAMES = ("lab.pt",)


def claims(path):
    return path.name == "lab.json"


def read_config(path):
    return SAEConfig(**json.loads(path.read_text()))


def read_weights(path):
    import torch

    return SAEWeights(**torch.load(path, weights_only=True))
"""
KNOWN = """
from saeviz.toolkit.sae import KnownSAE

KNOWN = [
    KnownSAE("lab-3", "lab/sae-of-layer-3", "siglip", 3, "patches", "relu", default=True, format="lab"),
    KnownSAE("lab-embedding", "lab/sae-of-embedding", "siglip", None, "all", "relu", hook="embedding", format="lab"),
    KnownSAE("prisma-x64-7", "lab/another", "clip-b32-prisma", 7, "all", "relu", default=True),
]
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a distribution on the path: its modules by name, and its entry points by group."""
    caches = (extensions, known._others)

    def install(modules, **groups):
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
            monkeypatch.delitem(sys.modules, name, raising=False)
        folder = tmp_path / "lab_saes-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-saes\nVersion: 1.2\n")
        lines = [f"[saeviz.{group}]\n" + "".join(f"{p} = {t}\n" for p, t in to.items()) for group, to in groups.items()]
        (folder / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(tmp_path)
        for cached in caches:
            cached.cache_clear()

    yield install
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def lab_sae(tmp_path):
    folder = tmp_path / "saes" / "mine"
    folder.mkdir(parents=True)
    (folder / "lab.json").write_text(json.dumps({"d_in": 8, "d_sae": 16, "layer": "stage3", "k": 4}))
    torch.save(sae_weights(0, 8, 16), folder / "lab.pt")
    return folder


def test_a_format_of_another_package_is_read(install, lab_sae, saeviz_command):
    install({"lab_format": FORMAT}, sae_formats={"lab": "lab_format"})
    sae = read_sae(lab_sae, context=saeviz.Context(device="cpu"))
    features = sae.encode(torch.ones(1, 8))
    assert (sae.config.layer, features.shape, int((features > 0).sum())) == ("stage3", (1, 16), 4)
    assert sae.decode(features, torch.ones(1, 8)).shape == (1, 8)
    shown = saeviz_command("plugins")
    assert "SAE format, by other packages\n  lab " in shown.out
    assert "[lab-saes 1.2]" in shown.out


@pytest.mark.parametrize("run_file", [False, True])
def test_packages_that_only_add_saes_are_required(install, saeviz_command, fake_run, run_file):
    install({"lab_known": KNOWN}, known_saes={"lab": "lab_known:KNOWN"})
    listed = saeviz_command("plugins", "--requirements", *([fake_run] if run_file else []))
    assert "lab-saes==1.2" in listed.out.splitlines()


def test_saes_of_another_package_are_known_by_name(install, tmp_path, monkeypatch, caplog):
    install(
        {"lab_format": FORMAT, "lab_known": KNOWN},
        sae_formats={"lab": "lab_format"},
        known_saes={"lab": "lab_known:KNOWN"},
    )
    asked = []

    def fetch(source, names, **_):
        asked.append((source, names))
        raise DataError("not here")

    monkeypatch.setattr("saeviz.toolkit.sae.sources.fetch", fetch)
    with pytest.raises(DataError, match="not here"):
        _ = SAESource(3, "lab-3", None, saeviz.Context()).config
    assert asked[0] == ("lab/sae-of-layer-3", ["lab.json"])
    assert default_saes("siglip") == {3: "lab/sae-of-layer-3"}
    assert [line.split()[0] for line in table_of("siglip")] == ["known", "lab-3", "lab-embedding"]


def test_what_is_known_already_stays_what_it_is(install, caplog):
    install({"lab_known": KNOWN}, known_saes={"lab": "lab_known:KNOWN"})
    assert find("prisma-x64-7").id.startswith("Prisma-Multimodal/")
    assert default_saes("clip-b32-prisma")[7].startswith("Prisma-Multimodal/")
    assert find("another") is None
    assert caplog.messages == [
        "known SAEs 'lab' (lab-saes 1.2): its SAE prisma-x64-7 is left out, as that name is already known"
    ]


BROKEN = {
    "CONFIG_NAMES = WEIGHTS_NAMES = ('a',)": "it lacks claims, read_config, read_weights",
    FORMAT.replace('("lab.pt",)', "'lab.pt'"): "its WEIGHTS_NAMES is 'lab.pt'; a tuple of file names belongs there",
}


@pytest.mark.parametrize(("code", "says"), BROKEN.items())
def test_a_broken_format_is_named_and_the_rest_works(install, lab_sae, make, tmp_path, saeviz_command, code, says):
    install({"lab_format": code}, sae_formats={"lab": "lab_format"})
    line = f"SAE format 'lab' (lab-saes 1.2) is left out: {says}"
    with pytest.raises(DataError) as caught:
        read_sae(lab_sae)
    assert line in str(caught.value)
    assert read_sae(make.sae(tmp_path / "plain"), context=saeviz.Context(device="cpu")).config.d_in == make.width
    shown = saeviz_command("plugins")
    assert (shown.code, line in shown.err) == (ExitCode.PLUGIN, True)
    assert saeviz_command("plugins", "--json").json()["extensions"][0]["problem"] == says


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('return path.name == "lab.json"', "return path.nome", "fails at .*lab.json with AttributeError"),
        ("return SAEConfig(**", "return dict(**", "read_config gives dict instead of SAEConfig"),
        ("return SAEWeights(**", "return dict(**", "read_weights gives dict instead of SAEWeights"),
    ],
)
def test_what_a_format_does_wrong_is_said_with_its_name(install, lab_sae, old, new, says):
    install({"lab_format": FORMAT.replace(old, new)}, sae_formats={"lab": "lab_format"})
    with pytest.raises(PluginError, match=rf"^SAE format 'lab' \(lab-saes 1\.2\):? {says}"):
        read_sae(lab_sae)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("KNOWN = [{'name': 'x'}]", "it has a dict where a KnownSAE belongs; it must lead to a list of these"),
        (
            KNOWN.replace('"lab/sae-of-layer-3"', '"sae"'),
            "its SAE 'lab-3' has the id 'sae'; owner/repository belongs there",
        ),
    ],
)
def test_a_broken_list_is_named(install, code, says, saeviz_command):
    install({"lab_known": code}, known_saes={"lab": "lab_known:KNOWN"})
    line = f"known SAEs 'lab' (lab-saes 1.2) is left out: {says}"
    with pytest.raises(DataError) as caught:
        read_sae("qqq")
    assert line in str(caught.value)
    assert find("prisma-x64-7")
    assert line in saeviz_command("plugins").err


def test_one_that_fails_on_import_is_shown_with_its_traceback(install, lab_sae, capsys):
    install({"lab_format": "raise RuntimeError('wrong planet')"}, sae_formats={"lab": "lab_format"})
    line = "SAE format 'lab' (lab-saes 1.2) is left out: it fails with RuntimeError: wrong planet"
    with pytest.raises(DataError, match=re.escape(line)):
        read_sae(lab_sae)
    with pytest.raises(SystemExit, match=str(int(ExitCode.PLUGIN))):
        main(["plugins", "--verbose"])
    shown = capsys.readouterr().err
    assert line in shown
    assert 'lab_format.py", line 1' in shown


def test_a_group_of_almost_the_right_name_is_named(install, saeviz_command):
    install({"lab": ""}, sae_format={"lab": "lab"})
    shown = saeviz_command("plugins")
    assert shown.code == ExitCode.PLUGIN
    assert (
        "group 'saeviz.sae_format', which saeviz does not read; the group is called 'saeviz.sae_formats'" in shown.err
    )


def test_no_package_is_imported_for_what_saeviz_knows_itself(install, make, tmp_path):
    install({"lab": "raise SystemExit"}, sae_formats={"lab": "lab"}, known_saes={"lab": "lab:KNOWN"})
    assert find("prisma-x64-7").layer == 7
    assert len(default_saes("clip-b32-prisma")) == 12
    assert extensions.cache_info().misses == 0
