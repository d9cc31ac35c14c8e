"""Reading SAEs from their files, and their forward pass against the published formulas."""

from __future__ import annotations

import collections
import json
import pickle
import sys
import types

import numpy as np
import pytest
import torch

from saeviz import DataError
from saeviz.toolkit.sae import SAE
from saeviz.toolkit.sae.formats import prisma

CPU = torch.device("cpu")


def load(folder, formula="published", file="weights.pt"):
    return SAE(
        prisma.read_config(folder / "config.json"), prisma.read_weights(folder / file), formula=formula, device=CPU
    )


@pytest.fixture
def x(make):
    return torch.randn(9, make.width, generator=torch.Generator().manual_seed(3)) * 3 + 1


@pytest.mark.parametrize("normalization", [None, "layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("k", [None, 7])
def test_features_and_reconstruction_follow_the_published_formulas(tmp_path, make, x, normalization, k):
    kind = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": k}} if k else {}
    sae = load(make.sae(tmp_path, normalize_activations=normalization, **kind))
    features, estimate = make.encode(x, make.weights(), normalization=normalization, k=k)

    found = sae.encode(x)
    np.testing.assert_allclose(found, features, atol=2e-5)
    np.testing.assert_allclose(sae.decode(found, x), estimate, atol=5e-5)
    assert (found >= 0).all()
    if k:
        assert int((found > 0).sum(1).max()) <= k


@pytest.mark.parametrize("normalization", [None, "layer_norm", "constant_norm_rescale"])
def test_the_variance_that_is_not_explained(tmp_path, make, x, normalization):
    """The squared error of the reconstruction, in parts of that of the decoder's bias alone."""
    from scipy.sparse import csr_array

    sae = load(make.sae(tmp_path, normalize_activations=normalization))
    features, estimate = make.encode(x, make.weights(), normalization=normalization)
    silent = {**make.weights(), "b_enc": torch.full((make.d_sae,), -1e6)}
    nothing, baseline = make.encode(x, silent, normalization=normalization)
    exact = x.double().numpy()
    expected = ((exact - estimate) ** 2).sum(1) / ((exact - baseline) ** 2).sum(1)
    found = sae.unexplained(csr_array(features.astype(np.float32)), x)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(sae.unexplained(csr_array(nothing.astype(np.float32)), x), 1.0)


def test_the_variance_that_is_not_explained_is_unknown_where_there_is_none(tmp_path, make):
    from scipy.sparse import csr_array

    sae = load(make.sae(tmp_path))
    x = make.weights()["b_dec"][None]
    assert np.isnan(sae.unexplained(csr_array((1, make.d_sae), dtype=np.float32), x)).all()


def test_the_documents_formula_leaves_out_the_decoder_bias(tmp_path, make, x):
    folder = make.sae(tmp_path)
    expected, _ = make.encode(x, make.weights(), subtract=False)
    np.testing.assert_allclose(load(folder, "document").encode(x), expected, atol=2e-5)
    assert not np.allclose(load(folder).encode(x), expected, atol=0.1)


def test_top_k_keeps_no_negative_values(tmp_path, make):
    weights = {**make.weights(), "b_enc": torch.full((make.d_sae,), -100.0)}
    folder = make.sae(tmp_path, weights, activation_fn_str="topk", activation_fn_kwargs={"k": 5})
    assert not load(folder).encode(torch.zeros(2, make.width)).any()


def test_lower_precision_weights_compute_in_float32(tmp_path, make, x):
    half = {name: tensor.bfloat16() for name, tensor in make.weights().items()}
    expected, _ = make.encode(x, half)
    found = load(make.sae(tmp_path, half)).encode(x)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, atol=2e-5)


# -- containers ---------------------------------------------------------------------------------------------------


@pytest.fixture
def published_config_class():
    """A stand-in for the class that published pickles refer to; gone again when they are read."""
    names = ["vit_prisma", "vit_prisma.sae", "vit_prisma.sae.config"]
    for name in names:
        sys.modules[name] = types.ModuleType(name)

    class VisionModelSAERunnerConfig:
        pass

    VisionModelSAERunnerConfig.__module__ = names[-1]
    VisionModelSAERunnerConfig.__qualname__ = "VisionModelSAERunnerConfig"
    sys.modules[names[-1]].VisionModelSAERunnerConfig = VisionModelSAERunnerConfig
    yield VisionModelSAERunnerConfig
    for name in names:
        sys.modules.pop(name, None)


def forget_vit_prisma():
    for name in [name for name in sys.modules if name.startswith("vit_prisma")]:
        del sys.modules[name]


def test_a_pickled_config_is_read_without_its_library(tmp_path, make, published_config_class):
    config = published_config_class()
    config.__dict__.update(make.config(), dtype=torch.float32, device=torch.device("cpu"), k=[1, (2, {"a": None})])
    make.sae(tmp_path, {"cfg": config, "state_dict": collections.OrderedDict(make.weights())})
    forget_vit_prisma()

    weights = prisma.read_weights(tmp_path / "weights.pt")
    torch.testing.assert_close(weights.W_enc, make.weights()["W_enc"])
    assert "vit_prisma" not in sys.modules


@pytest.mark.parametrize("wrap", [dict, collections.OrderedDict, lambda d: {"state_dict": d}])
@pytest.mark.parametrize("zipped", [True, False])
def test_plain_containers(tmp_path, make, wrap, zipped):
    path = tmp_path / "weights.pt"
    torch.save(wrap(make.weights()), path, _use_new_zipfile_serialization=zipped)
    torch.testing.assert_close(prisma.read_weights(path).b_dec, make.weights()["b_dec"])


class Evil:
    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return self.call


def evil_state(victim):
    return [
        Evil((eval, (f"__import__('pathlib').Path({str(victim)!r}).touch()",))),
        {"cfg": Evil((exec, (f"open({str(victim)!r}, 'w')",))), "state_dict": {}},
        collections.OrderedDict(W_enc=Evil((open, (str(victim), "w")))),
    ]


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("how", ["torch", "torch-legacy", "pickle"])
def test_a_malicious_file_is_refused_and_does_not_run(tmp_path, which, how):
    victim, path = tmp_path / "victim", tmp_path / "weights.pt"
    if how == "pickle":
        path.write_bytes(pickle.dumps(evil_state(victim)[which]))
    else:
        torch.save(evil_state(victim)[which], path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(DataError, match=r"weights\.pt is (refused|not a file of weights)"):
        prisma.read_weights(path)
    assert not victim.exists()


def test_a_foreign_class_is_named(tmp_path):
    torch.save({"cfg": Evil((eval, ("1",)))}, tmp_path / "weights.pt")
    with pytest.raises(DataError, match="it wants to run 'eval', and weights must be plain arrays"):
        prisma.read_weights(tmp_path / "weights.pt")


def test_the_config_class_stays_inert(tmp_path, published_config_class):
    """Even the one class that is let through does not bring its methods along."""
    published_config_class.__setstate__ = lambda self, state: (tmp_path / "victim").touch()
    config = published_config_class()
    config.a = 1
    torch.save({"cfg": config, "state_dict": {}}, tmp_path / "weights.pt")
    with pytest.raises(DataError, match="it holds nothing"):
        prisma.read_weights(tmp_path / "weights.pt")
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a file of weights"),
        (b"<html>404</html>", "not a file of weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", r"git-lfs pointer.*git lfs pull"),
    ],
)
def test_what_is_no_weights_file_is_said_to_be_none(tmp_path, content, says):
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(DataError, match=says):
        prisma.read_weights(tmp_path / "weights.pt")


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.99])
def test_half_a_file(tmp_path, make, cut):
    path = make.sae(tmp_path) / "weights.pt"
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    with pytest.raises(DataError, match=r"weights\.pt"):
        prisma.read_weights(path)


def test_arrays_of_another_architecture(tmp_path, make):
    torch.save({**make.weights(), "b_gate": torch.zeros(3)}, tmp_path / "weights.pt")
    with pytest.raises(DataError, match="not a standard SAE: it holds W_dec, W_enc, b_dec, b_enc, b_gate where"):
        prisma.read_weights(tmp_path / "weights.pt")


def test_a_list_is_no_state_dict(tmp_path):
    torch.save([torch.zeros(3)], tmp_path / "weights.pt")
    with pytest.raises(DataError, match="no state dict"):
        prisma.read_weights(tmp_path / "weights.pt")


@pytest.mark.parametrize("name", ["W_enc", "b_enc", "W_dec", "b_dec"])
def test_weights_that_do_not_fit_their_config(tmp_path, make, name):
    wrong = {**make.weights(), name: make.weights()[name][1:]}
    with pytest.raises(DataError, match=rf"{name} has shape .* d_in = 64 and d_sae = 256"):
        load(make.sae(tmp_path, wrong))


def test_weights_that_are_not_finite(tmp_path, make):
    wrong = make.weights()
    wrong["W_dec"][5, 5] = float("nan")
    with pytest.raises(DataError, match="W_dec holds values that are not finite"):
        load(make.sae(tmp_path, wrong))


# -- config.json --------------------------------------------------------------------------------------------------


def read(tmp_path, config):
    (tmp_path / "config.json").write_text(json.dumps(config))
    return prisma.read_config(tmp_path / "config.json")


NEEDED = [
    "model_name",
    "hook_point_layer",
    "layer_subtype",
    "d_in",
    "activation_fn_str",
    "normalize_activations",
    "cls_token_only",
    "use_patches_only",
]


@pytest.mark.parametrize("key", NEEDED)
def test_a_missing_key_is_named_and_never_guessed(tmp_path, make, key):
    with pytest.raises(DataError, match=rf"config\.json: the key '{key}' is missing"):
        read(tmp_path, make.config(**{key: ...}))


def test_device_and_dtype_as_text_or_object_or_absent(tmp_path, make):
    texts = read(tmp_path, make.config(device="cuda", dtype="torch.float32"))
    assert (
        texts == read(tmp_path, make.config()) == read(tmp_path, make.config(device=..., dtype=..., architecture=...))
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"normalize_activations": "expected_average_only_in"}, "normalize_activations.*layer_norm.*found 'expected"),
        ({"activation_fn_str": "tanh-relu"}, "activation_fn_str.*'relu' or 'topk'"),
        ({"activation_fn_str": "topk"}, "activation_fn_kwargs.k must be 1 to 256"),
        ({"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 257}}, "activation_fn_kwargs.k"),
        ({"architecture": "gated"}, "architecture.*'standard'.*found 'gated'"),
        ({"d_in": 0}, "d_in"),
        ({"hook_point_layer": "8"}, "hook_point_layer"),
        ({"cls_token_only": "no"}, "cls_token_only"),
    ],
)
def test_a_value_that_is_not_understood_is_refused(tmp_path, make, changes, says):
    with pytest.raises(DataError, match=says):
        read(tmp_path, make.config(**changes))


@pytest.mark.parametrize("text", ["", "[1]", "{", "\x00", "[" * 100_000])
def test_a_config_that_is_none(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(DataError, match=r"config\.json"):
        prisma.read_config(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("flags", "trained_on"),
    [
        ({}, "all"),
        ({"context_size": ...}, "all"),
        ({"cls_token_only": True}, "cls"),
        ({"context_size": 1}, "cls"),
        ({"use_patches_only": True, "context_size": 49}, "patches"),
    ],
)
def test_the_tokens_that_an_sae_has_seen(tmp_path, make, flags, trained_on):
    assert read(tmp_path, make.config(**flags)).trained_on == trained_on
