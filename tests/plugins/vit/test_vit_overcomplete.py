"""SAEs as overcomplete saves them: whole modules, of which no code is run."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from saeviz import DataError
from tests.plugins.vit.formulas import D_IN, D_SAE, K, check, decode, jump, load, pre, relu, top_k

PLACES = {
    "SAE": "base",
    "TopKSAE": "topk_sae",
    "JumpSAE": "jump_sae",
    "BatchTopKSAE": "batchtopk_sae",
    "QSAE": "qsae",
    "MLPEncoder": "modules",
    "TieableEncoder": "modules",
    "DictionaryLayer": "dictionary",
    "normalize_l2": "dictionary",
    "normalize_l1": "dictionary",
}


@pytest.fixture
def library():
    """Classes of overcomplete as far as its files refer to them; gone again when the files are read."""
    modules = ["overcomplete", "overcomplete.sae", *(f"overcomplete.sae.{place}" for place in set(PLACES.values()))]
    sys.modules.update({name: types.ModuleType(name) for name in modules})

    def normalize(_rows):
        raise AssertionError("code of the file was run")

    for name, place in PLACES.items():
        module = f"overcomplete.sae.{place}"
        if name.startswith("normalize"):
            made = types.FunctionType(normalize.__code__, {}, name)
            made.__module__, made.__qualname__ = module, name
        else:
            made = type(name, (nn.Module,), {"__module__": module})
        setattr(sys.modules[module], name, made)
    yield lambda name: getattr(sys.modules[f"overcomplete.sae.{PLACES[name]}"], name)
    for name in modules:
        sys.modules.pop(name, None)


@pytest.fixture
def write_overcomplete(tmp_path, library, w):
    """Saves a module laid out as overcomplete 0.3 does it, without b_dec; `fused` says that `.eval()` was called."""

    def parameters(module, **tensors):
        for name, tensor in tensors.items():
            module.register_parameter(name, None if tensor is None else nn.Parameter(tensor.clone()))
        return module

    def write(name="SAE", encoder="linear", fused=True, norm=None, rule="normalize_l2", **attributes):
        sae = library(name)()
        if encoder == "linear":
            inner = nn.Linear(D_IN, D_SAE)
            inner.weight.data, inner.bias.data = w["W_enc"].T.clone(), w["b_enc"].clone()
            sae.encoder = library("MLPEncoder")()
            sae.encoder.mlp_blocks = nn.ModuleList()
            sae.encoder.final_block = nn.Sequential(inner, norm or nn.Identity())
            sae.encoder.final_activation = nn.ReLU()
            sae.encoder.norm_layer = nn.Identity
        else:
            sae.encoder = library("TieableEncoder")()
            parameters(sae.encoder, weight=None if encoder == "tied" else w["W_enc"].T, bias=w["b_enc"])
        sae.dictionary = library("DictionaryLayer")()
        parameters(sae.dictionary, _weights=w["W_dec"] * 3)
        sae.dictionary.register_buffer("multiplier", torch.tensor(0.5))
        sae.dictionary.normalization = library(rule)
        sae.dictionary._fused_dictionary = w["W_dec"] if fused else None
        if encoder == "tied":
            sae.encoder.tied_to = sae.dictionary
        for key, value in attributes.items():
            setattr(sae, key, value)
        torch.save(sae, tmp_path / "sae.pth")
        for module in [module for module in sys.modules if module.startswith("overcomplete")]:
            del sys.modules[module]
        return tmp_path

    return write


@pytest.fixture
def without_bias(w):
    """The same weights for the reference: overcomplete has no decoder bias."""
    return {**w, "b_dec": torch.zeros(D_IN)}


@pytest.mark.parametrize("encoder", ["linear", "untied", "tied"])
def test_overcomplete_relu(write_overcomplete, without_bias, x, encoder):
    w = {**without_bias, "W_enc": without_bias["W_dec"].T} if encoder == "tied" else without_bias
    features = relu(pre(x, w, False))
    check(load(write_overcomplete(encoder=encoder)), x, features, decode(features, w))
    assert "overcomplete" not in sys.modules


def test_overcomplete_top_k(write_overcomplete, without_bias, x):
    features = top_k(pre(x, without_bias, False))
    check(load(write_overcomplete("TopKSAE", top_k=K)), x, features, decode(features, without_bias))


def test_overcomplete_jump(write_overcomplete, without_bias, x):
    thresholds = torch.randn(D_SAE, generator=torch.Generator().manual_seed(2))
    features = jump(pre(x, without_bias, False), np.exp(thresholds.double().numpy()))
    sae = load(write_overcomplete("JumpSAE", thresholds=nn.Parameter(thresholds)))
    check(sae, x, features, decode(features, without_bias))


def test_overcomplete_batch_top_k_fires_at_its_threshold(write_overcomplete, without_bias, x):
    values = relu(pre(x, without_bias, False))
    threshold = torch.tensor(np.sort(values.ravel())[-500], dtype=torch.float32)
    features = np.where(values >= float(threshold) - 1e-5, values, 0)
    sae = load(write_overcomplete("BatchTopKSAE", top_k=500, running_threshold=threshold))
    check(sae, x, features, decode(features, without_bias))
    assert sae.config.k is None


def test_overcomplete_saved_while_training_has_its_dictionary_normalised(write_overcomplete, without_bias, x):
    rows = without_bias["W_dec"].double()
    w = {**without_bias, "W_dec": rows / rows.norm(dim=1, keepdim=True) * np.exp(0.5)}
    features = relu(pre(x, w, False))
    check(load(write_overcomplete(fused=False)), x, features, decode(features, w))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "QSAE"}, "holds a QSAE; supported are SAE, TopKSAE"),
        ({"fused": False, "rule": "normalize_l1"}, "saved while training.*call .eval"),
        ({"norm": nn.LayerNorm(D_SAE)}, "has a LayerNorm where only Identity is supported"),
        ({"name": "BatchTopKSAE", "running_threshold": None}, "running threshold was never set"),
        ({"name": "TopKSAE", "top_k": 0}, "top_k = 0 of 256"),
        ({"name": "TopKSAE"}, "not laid out like an SAE of overcomplete"),
    ],
)
def test_overcomplete_that_is_not_understood(write_overcomplete, options, says):
    with pytest.raises(DataError, match=says):
        load(write_overcomplete(**options))


def test_overcomplete_runs_nothing_of_a_file(write_overcomplete, tmp_path):
    victim = tmp_path / "victim"

    class Evil:
        def __reduce__(self):
            return open, (str(victim), "w")

    folder = write_overcomplete("TopKSAE", top_k=Evil())
    with pytest.raises(DataError, match=r"sae\.pth is refused: it wants to run"):
        load(folder)
    assert not victim.exists()
