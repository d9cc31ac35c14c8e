"""The SAEs that saeviz knows by name: a data file, what `saes` makes of it, how it is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import saeviz
from saeviz import DataError
from saeviz.toolkit.sae import SAESource, default_saes, find, known_saes
from saeviz_vit import ClipOptions, VitOptions
from saeviz_vit.clip import ClipExtractor
from saeviz_vit.notes import clip_notes, vit_notes


@pytest.fixture
def asked(monkeypatch):
    """What would have been fetched: (place, names, revision)."""
    calls = []

    def fetch(source, names, *, revision, **_):
        calls.append((source, list(names), revision))
        raise DataError("not here")

    monkeypatch.setattr("saeviz.toolkit.sae.sources.fetch", fetch)
    return calls


def fetched(source, asked, revision=None):
    with pytest.raises(DataError, match="not here"):
        _ = SAESource(7, source, revision, saeviz.Context()).config
    return asked[0]


# -- the file ------------------------------------------------------------------------------------------------------


def test_every_entry_is_whole_and_named_once():
    known = known_saes()
    assert len({sae.name for sae in known}) == len({sae.id for sae in known}) == len(known)
    for sae in known:
        assert re.fullmatch(r"prisma-[a-z0-9-]+", sae.name)
        assert re.fullmatch(r"Prisma-Multimodal/[\w.-]+", sae.id)
        assert f"-{sae.layer}-" in sae.id or f"_{sae.layer}-" in sae.id
        assert f"-{sae.layer}" in sae.name
        assert sae.extractor in ("clip-b32-prisma", "vit-sae")
        assert sae.tokens in ("all", "cls", "patches")
        assert sae.architecture in ("vanilla", "top-k")
        assert sae.hook in sae.id
        assert sae.revision is None or re.fullmatch("[0-9a-f]{40}", sae.revision)
        assert sae.explained_variance is None or 0.5 < sae.explained_variance < 1
        assert sae.l0 or sae.l0_cls


@pytest.mark.parametrize(
    ("name", "variance", "l0", "l0_cls"),
    [
        ("prisma-x64-7", 0.982, 1688, 494),
        ("prisma-x64-8", 0.982, 1571, 791),
        ("prisma-x64-11", 0.984, 1405, 1189),
        ("prisma-x64-11-l1-8e-05", 0.793, 288, None),
        ("prisma-cls-topk64-8", 0.87, None, 64),
        ("prisma-spatial-11", 0.99, 829, None),
        ("prisma-dino-b16-7", 0.98, 1086, 1041),
        ("prisma-mlp-x64-7", 0.982, 1535, 1300),
        ("prisma-mlp-x64-11", 0.897, 748, 745.5),
    ],
)
def test_published_figures(name, variance, l0, l0_cls):
    sae = find(name)
    assert sae.explained_variance == pytest.approx(variance)
    assert sae.l0 == pytest.approx(l0, abs=0.5)
    assert sae.l0_cls == pytest.approx(l0_cls, abs=0.5)


def test_there_is_a_default_for_every_layer_of_clip():
    assert sorted(default_saes("clip-b32-prisma")) == list(range(12))
    assert all(find(hub_id).tokens == "all" for hub_id in default_saes("clip-b32-prisma").values())


@pytest.mark.parametrize(
    "source",
    [
        "prisma-x64-8",
        "PRISMA-x64-8",
        "Prisma-Multimodal/sparse-autoencoder-clip-b-32-sae-vanilla-x64-layer-8-hook_resid_post-l1-1e-05",
        Path("/copies/sparse-autoencoder-clip-b-32-sae-vanilla-x64-layer-8-hook_resid_post-l1-1e-05"),
    ],
)
def test_one_is_found_by_name_by_id_and_by_the_folder_it_was_copied_to(source):
    assert find(source).layer == 8
    assert find(source).name == "prisma-x64-8"


def test_a_weights_file_is_found_by_its_folder(make, tmp_path):
    folder = make.sae(tmp_path / find("prisma-dino-b16-7").id.partition("/")[2])
    assert find(folder / "weights.pt").name == "prisma-dino-b16-7"
    assert VitOptions(model="m", saes={7: folder / "weights.pt"}).crops_centre


def test_the_unknown_is_not_found():
    assert find("owner/other") is None
    assert find("") is None


# -- what saes makes of it -----------------------------------------------------------------------------------------


def test_a_short_name_stands_for_the_hub_id_and_its_pinned_revision(asked):
    place, names, revision = fetched("prisma-x64-8", asked)
    assert place == find("prisma-x64-8").id
    assert "config.json" in names
    assert revision == find("prisma-x64-8").revision
    assert len(revision) == 40


@pytest.mark.parametrize("source", ["prisma-x64-7", "owner/other"])
def test_without_a_pin_the_newest_is_taken(asked, source):
    assert fetched(source, asked)[2] == "main"


def test_the_users_revision_wins(asked):
    assert fetched("prisma-x64-8", asked, "v2")[2] == "v2"


def test_a_mirror_has_revisions_of_its_own(asked):
    mirror = find("prisma-x64-8").id.replace("Prisma-Multimodal", "mirror")
    assert fetched(mirror, asked)[::2] == (mirror, "main")


def test_a_folder_of_a_repository(asked):
    place, names, _ = fetched("owner/saes:layer_7/best/", asked)
    assert place == "owner/saes"
    assert "layer_7/best/cfg.json" in names


def test_a_folder_outside_of_it(asked):
    with pytest.raises(DataError, match=r"extractor\.saes\.7: owner/saes:\.\./x leads out of the repository"):
        _ = SAESource(7, "owner/saes:../x", None, saeviz.Context()).config
    assert not asked


def test_a_folder_of_the_same_name_comes_first(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make.sae(tmp_path / "prisma-x64-7", d_in=32)
    assert SAESource(7, "prisma-x64-7", None, saeviz.Context(offline=True)).config.d_in == 32


@pytest.mark.parametrize(
    ("name", "says"),
    [("prisma-x64-77", "did you mean prisma-x64-7"), ("qqq", "`saeviz plugins extractor:clip-b32-prisma` lists them")],
)
def test_a_name_that_is_none_gets_a_suggestion(name, says):
    with pytest.raises(DataError, match=rf"extractor\.saes\.7: no file or folder {name}, and no known SAE.*{says}"):
        _ = SAESource(7, name, None, saeviz.Context()).config


def test_the_name_of_another_layer_is_refused_by_the_sae_itself(make, tmp_path):
    folder = make.sae(tmp_path / find("prisma-x64-7").id.partition("/")[2], d_in=768, hook_point_layer=7)
    extractor = ClipExtractor(
        ClipOptions(layers=[8], saes={8: folder}, allow_mismatch=False), saeviz.Context(offline=True)
    )
    with pytest.raises(DataError, match="trained on layer 7, but used for layer 8"):
        _ = extractor.spaces


def test_pictures_are_cropped_as_the_known_saes_were_trained():
    options = {"model": "facebook/dino-vitb16"}
    assert VitOptions(saes={7: "prisma-dino-b16-7"}, **options).crops_centre
    assert VitOptions(saes={7: find("prisma-dino-b16-7").id}, **options).crops_centre
    assert not VitOptions(saes={7: "prisma-dino-b16-7"}, centre_crop=False, **options).crops_centre
    assert not VitOptions(saes={7: "owner/mine"}, **options).crops_centre
    assert VitOptions(saes={7: "owner/mine"}, centre_crop=True, **options).crops_centre


# -- how it is shown -----------------------------------------------------------------------------------------------


def test_saeviz_plugins_lists_them(saeviz_command):
    shown = saeviz_command("plugins", "extractor:clip-b32-prisma").out
    line = next(line for line in shown.splitlines() if line.startswith("prisma-x64-11 "))
    assert line.split()[1:8] == ["11", "resid_post", "all", "vanilla", "98.4%", "1405", "1189"]
    assert line.endswith("layer-11-hook_resid_post-l1-1e-05")
    assert "prisma-dino" not in shown
    notes = saeviz_command("plugins", "extractor:vit-sae", "--json").json()["notes"]
    assert "facebook/dino-vitb16" in notes[0]
    assert json.dumps(notes).count("Prisma-Multimodal/DINO") == 12


def test_every_known_sae_is_on_one_list():
    lines = "\n".join([*clip_notes(), *vit_notes()])
    assert [sae.name for sae in known_saes() if lines.count(f"{sae.name} ") != 1] == []
