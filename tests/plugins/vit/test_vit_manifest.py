"""Repositories that list several SAEs of a layer, as saev publishes them: which is meant, and what there is."""

from __future__ import annotations

import json
from collections import OrderedDict

import pytest
import torch

import saeviz
from saeviz import DataError
from saeviz.toolkit.hub import fetch
from saeviz.toolkit.sae import SAESource
from tests.plugins.vit.formulas import D_IN, D_SAE, check, decode, load, pre, relu

RUNS = {6: {"y7uk": 2.2, "lppv": 725.8}, 8: {"wgh9": 0.5, "q6pg": 12.2, "r3op": 63.1, "rc82": 690.9}}
HEADER = {"schema": 5, "cfg": {"d_model": D_IN, "d_sae": D_SAE, "activation": {"cls": "Relu", "params": {}}}}


def line(layer, run, l0, **changes):
    path = f"layer_{layer}/{run}/sae.pt"
    return json.dumps(
        {"run_id": run, "layer": layer, "l0": l0, "mse": 1.5, "sha256": "0" * 64, "path": path, **changes}
    )


@pytest.fixture
def repository(tmp_path, make, monkeypatch):
    """A copy of one, which the hub is made to serve as `owner/saes`; each SAE has weights of its own."""
    lines, seed = [], 0
    for layer, runs in RUNS.items():
        for run, l0 in runs.items():
            folder = tmp_path / "copy" / f"layer_{layer}" / run
            folder.mkdir(parents=True)
            with (folder / "sae.pt").open("wb") as file:
                file.write((json.dumps(HEADER) + "\n").encode())
                torch.save(OrderedDict(make.weights(seed)), file)
            lines.append(line(layer, run, l0))
            seed += 1
    (tmp_path / "copy" / "manifest.jsonl").write_text("\n".join(lines) + "\n\n")
    monkeypatch.setattr(
        "saeviz.toolkit.sae.sources.fetch",
        lambda source, names, **rest: fetch(tmp_path / "copy" if source == "owner/saes" else source, names, **rest),
    )
    return tmp_path / "copy"


def source(text, layer=8):
    return SAESource(layer, text, None, saeviz.Context(offline=True))


@pytest.mark.parametrize(("wanted", "seed"), [("60", 4), ("100", 4), ("0.1", 2), ("1e4", 5), ("28", 4)])
def test_by_l0(repository, make, x, wanted, seed, caplog):
    """The nearest as a ratio, of the layer that it is used for."""
    w = make.weights(seed)
    with caplog.at_level("INFO", "saeviz"):
        found = source(f"owner/saes:l0={wanted}")
        assert torch.equal(found.read_weights().W_enc, w["W_enc"])
    assert found.config.layer == 8
    run, l0 = list(RUNS[8].items())[seed - 2]
    assert f"owner/saes:l0={wanted} is layer_8/{run}/sae.pt, with an L0 of {l0}" in caplog.text
    sae = load(repository / "layer_8" / run)
    expected = relu(pre(x, w, False))
    check(sae, x, expected, decode(expected, w))


def test_by_folder(repository, make):
    for found in (source("owner/saes:layer_8/r3op"), source(repository / "layer_8" / "r3op")):
        assert torch.equal(found.read_weights().W_enc, make.weights(4)["W_enc"])


@pytest.mark.parametrize("text", ["owner/saes", "owner/saes:r3op"])
def test_what_there_is_is_listed(repository, text):
    with pytest.raises(DataError) as caught:
        _ = source(text).config
    said = str(caught.value)
    assert f"extractor.saes.8: {text} is not one SAE; of layer 8 there are layer_8/wgh9 (L0 0.5), " in said
    assert "layer_8/r3op (L0 63.1)" in said
    assert said.endswith("choose one, owner/saes:FOLDER, or by its L0, owner/saes:l0=60")


def test_a_local_copy_is_listed_too(repository):
    with pytest.raises(DataError, match=rf"is not one SAE; of layer 8 .* choose one, {repository}/FOLDER"):
        _ = source(repository).config


@pytest.mark.parametrize("text", ["owner/saes", "owner/saes:l0=60"])
def test_a_layer_of_which_there_is_none(repository, text):
    with pytest.raises(DataError, match=r"extractor\.saes\.7: .*there are SAEs of the layers 6, 8"):
        _ = source(text, layer=7).config


@pytest.mark.parametrize("wanted", ["", "many", "0", "-3", "nan", "inf"])
def test_an_l0_that_is_no_number(repository, wanted):
    with pytest.raises(DataError, match=r"extractor\.saes\.8: owner/saes:l0=.* needs a number above 0"):
        _ = source(f"owner/saes:l0={wanted}").config


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", r"manifest\.jsonl:2 cannot be read as JSON"),
        ("[1]", r"manifest\.jsonl:2: "),
        (line(8, "a", float("nan")), "l0: Input should be a finite number"),
        (line(8, "a", 1, path="../../etc/sae.pt"), "path: the path of a file in a folder of the repository"),
        (line(8, "a", 1, path="/etc/sae.pt"), "path: the path of a file in a folder of the repository"),
        (line("x", "a", 1), "layer: Input should be a valid integer"),
    ],
)
def test_manifests_that_are_refused(repository, text, says):
    (repository / "manifest.jsonl").write_text(f"{line(8, 'r3op', 63.1)}\n{text}\n")
    with pytest.raises(DataError, match=says):
        _ = source("owner/saes:l0=60").config


def test_a_repository_without_one(repository):
    (repository / "manifest.jsonl").unlink()
    with pytest.raises(DataError, match=r"extractor\.saes\.8: .* has no manifest\.jsonl"):
        _ = source("owner/saes:l0=60").config
    with pytest.raises(DataError, match=r"has no config\.json or cfg\.json"):
        _ = source("owner/saes").config
