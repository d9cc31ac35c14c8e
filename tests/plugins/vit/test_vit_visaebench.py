"""SAEs of visaebench: their files against that library's forward pass in float64, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from saeviz import DataError
from tests.plugins.vit.formulas import D_IN, D_SAE, K, check, config_of, jump, load, relu, top_k

MEAN, STD, THRESHOLD = np.random.default_rng(4).normal(size=D_IN) * 3, 2.5, 0.4


def config(**changes):
    """A `config.json` of the published kind; a change to `...` leaves the key out."""
    found = {
        "activation": "batchtopk",
        "input_dim": D_IN,
        "hidden_dim": D_SAE,
        "k": K,
        "threshold": THRESHOLD,
        **changes,
    }
    return {key: value for key, value in found.items() if value is not ...}


def arrays(w, *, own=False, **more):
    """The state by the names of visaebench, or by those of the library that trains them."""
    names = (
        ("encoder.final_block.0.weight", "encoder.final_block.0.bias", "dictionary._weights")
        if own
        else ("encoder.weight", "encoder.bias", "decoder.weight")
    )
    return dict(zip(names, (w["W_enc"].T.contiguous(), w["b_enc"], w["W_dec"]), strict=True)) | more


def write(folder, tensors, stats=(), **changes):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(**changes)))
    torch.save(tensors, folder / "sae.pt")
    if stats is not None:
        found = {"mean": MEAN.tolist(), "std": STD, **dict(stats)}
        (folder / "stats.json").write_text(json.dumps(found))
    return folder


def expect(x, w, act, b_dec=0.0, scale=1.0):
    """Codes of standardised activations, and the reconstruction in the units of the model."""
    w = {name: tensor.double().numpy() for name, tensor in w.items()}
    codes = act(relu((x.astype(np.float64) - MEAN) / STD @ w["W_enc"] + w["b_enc"]))
    return codes, (codes @ (w["W_dec"] * scale) + b_dec) * STD + MEAN


def test_batch_top_k_is_a_threshold(tmp_path, w, x):
    bias = np.linspace(-1, 1, D_IN)
    tensors = arrays(w, **{"decoder.bias": torch.tensor(bias, dtype=torch.float32)})
    sae = load(write(tmp_path, tensors))
    check(sae, x, *expect(x, w, lambda codes: jump(codes, THRESHOLD), bias))
    assert sae.jumps


def test_as_its_trainer_writes_it(tmp_path, w, x):
    """The threshold in the state, a factor on the dictionary, the sizes by other names."""
    more = {"_running_threshold": torch.tensor(0.7), "dictionary.multiplier": torch.tensor(0.3)}
    changes = {"activation": ..., "input_dim": ..., "hidden_dim": ..., "threshold": ...}
    mine = {"architecture": "batchtopk", "d_model": D_IN, "dict_size": D_SAE, "backbone": "clip_vitb16"}
    place = {"activation_dir": "/scratch/activations/clip_vitb16/layer_11"}
    folder = write(tmp_path, arrays(w, own=True, **more), **changes, **mine, **place)
    check(load(folder), x, *expect(x, w, lambda codes: jump(codes, 0.7), scale=np.exp(0.3)))
    found = config_of(folder)
    assert (found.model_name, found.layer, found.hook) == ("openai/clip-vit-base-patch16", 11, "hook_resid_post")
    assert (found.trained_on, found.k) == ("patches", None)


def test_top_k(tmp_path, w, x):
    folder = write(tmp_path, arrays(w), activation="TopK", threshold=..., hidden_dim=..., expansion_factor=4)
    check(load(folder), x, *expect(x, w, top_k))


def test_a_value_that_equals_the_threshold_fires(tmp_path, w):
    w = {**w, "W_enc": torch.zeros(D_IN, D_SAE), "b_enc": torch.full((D_SAE,), 0.4)}
    sae = load(write(tmp_path, arrays(w), threshold=float(np.float32(0.4))))
    assert bool((sae.encode(torch.zeros(2, D_IN)) > 0).all())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"activation": "jumprelu"}, r"activation: Input should be 'batchtopk' or 'topk' \(found 'jumprelu'\)"),
        ({"input_dim": ...}, "the key 'input_dim' is missing"),
        ({"activation": "topk", "k": None}, "k must be 1 to 256 where activation is 'topk'"),
        ({"threshold": ...}, r"sae\.pt has no running threshold, nor has its config"),
        ({"threshold": float("nan")}, "threshold: Input should be a finite number"),
        ({"hidden_dim": 10**15}, r"W_enc has shape \[64, 256\]"),
        ({"hidden_dim": 128}, r"W_enc has shape \[64, 256\]"),
        ({"input_dim": 32}, "decoder.bias has shape .*, but the config says 32|mean has 64 numbers"),
    ],
)
def test_configs_that_are_refused(tmp_path, w, changes, says):
    with pytest.raises(DataError, match=says):
        load(write(tmp_path, arrays(w), **changes))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"encoder.final_block.1.weight": torch.ones(3)}, r"is not an SAE of visaebench: it holds .*final_block\.1"),
        ({"decoder.weight": torch.tensor(1.0)}, "decoder.bias has shape|W_dec has shape"),
        ({"encoder.weight": torch.ones(7)}, r"W_enc has shape \[7\]"),
        ({"encoder.bias": torch.full((D_SAE,), torch.nan)}, "b_enc holds values that are not finite"),
        ({"decoder.bias": torch.ones(3)}, r"decoder\.bias has shape \[3\], but the config says 64"),
    ],
)
def test_weights_that_are_refused(tmp_path, w, more, says):
    with pytest.raises(DataError, match=says):
        load(write(tmp_path, arrays(w, **more)))


def test_what_it_was_standardised_with_must_be_there(tmp_path, w):
    with pytest.raises(DataError, match=r"has no stats\.json: .* standardised activations.* mean \(64 numbers\)"):
        load(write(tmp_path, arrays(w), stats=None))


@pytest.mark.parametrize(
    ("stats", "says"),
    [({"std": 0}, "std: .*greater than 0"), ({"mean": [1.0]}, "mean has 1 numbers"), ({"mean": None}, "mean: ")],
)
def test_statistics_that_are_refused(tmp_path, w, stats, says):
    with pytest.raises(DataError, match=says):
        load(write(tmp_path, arrays(w), stats=stats))


class Attack:
    def __reduce__(self):
        return (eval, ("1 + 1",))


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"sae\.pt is refused: it wants to run '.*eval'"):
        load(write(tmp_path, {"encoder.weight": Attack()}))


# -- no SAEs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["zer0int/CLIP-SAE-ViT-L-14", "zer0int/LongCLIP-SAE-ViT-L-14"])
def test_a_clip_with_sae_in_its_name(source):
    with pytest.raises(DataError, match=f"{source} is a fine-tuned CLIP, not an SAE"):
        config_of(source)


def test_the_folder_of_a_model(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["CLIPModel"], "model_type": "clip"}))
    with pytest.raises(DataError, match="is a model, not an SAE"):
        config_of(tmp_path)
