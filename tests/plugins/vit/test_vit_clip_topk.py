"""The top-k SAE of CLIP's image embedding: its files against that class's forward pass in float64."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from saeviz import DataError
from saeviz_vit import ClipOptions
from saeviz_vit.clip import ClipExtractor
from tests.plugins.vit.formulas import D_IN, D_SAE, K, check, config_of, load, top_k
from tests.plugins.vit.runs import collect, context


def write(folder, w, d_in=D_IN, **changes):
    from safetensors.torch import save_file

    config = {
        "input_dim": d_in,
        "hidden_dim": D_SAE,
        "k": K,
        "use_ghost_grads": True,
        "ghost_threshold": 0.0,
        "ghost_weight": 0.01,
        "normalize_decoder": True,
        "decoder_bias": True,
        **changes,
    }
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))
    counts = {"feature_counts": torch.ones(D_SAE), "total_samples": torch.tensor(5)}
    save_file({**{name: tensor.contiguous() for name, tensor in w.items()}, **counts}, folder / "model.safetensors")
    return folder


def expect(x, w, *, normalize=True):
    """Codes of the embedding at length 1, and the reconstruction at the length that it has."""
    w = {name: tensor.double().numpy() for name, tensor in w.items()}
    x = np.asarray(x, np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    codes = top_k(x / length @ w["W_enc"] + w["b_enc"])
    rows = w["W_dec"] / np.linalg.norm(w["W_dec"], axis=1, keepdims=True) if normalize else w["W_dec"]
    return codes, (codes @ rows + w.get("b_dec", 0.0)) * length


@pytest.mark.parametrize("normalize", [True, False])
def test_the_forward_pass(tmp_path, w, x, normalize):
    w = {**w, "b_enc": w["b_enc"] + 2}
    check(load(write(tmp_path, w, normalize_decoder=normalize)), x, *expect(x, w, normalize=normalize))


def test_without_a_bias_of_the_decoder(tmp_path, w, x):
    w = {name: tensor for name, tensor in w.items() if name != "b_dec"} | {"b_enc": w["b_enc"] + 2}
    check(load(write(tmp_path, w, decoder_bias=False)), x, *expect(x, w))
    found = config_of(tmp_path)
    assert (found.hook, found.k, found.layer, found.model_name) == ("hook_embedding", K, None, None)


def test_in_use(tmp_path, make, clip_folder, images, caplog):
    w = make.weights(3, d_in=32)
    saes = [{"hook": "embedding", "source": str(write(tmp_path / "sae", w, d_in=32))}]
    extractor = ClipExtractor(ClipOptions(clip_checkpoint=clip_folder, saes=saes), context())
    ids, rows = collect(extractor.extract(images))["embedding.image"]
    embedded = extractor.embed_images(images)
    np.testing.assert_allclose(rows, expect(embedded, w)[0], atol=2e-4)
    assert ids == [item.item_id for item in images]
    assert "does not say what it was trained on (model)" in caplog.text
    wrong = ClipExtractor(ClipOptions(clip_checkpoint=clip_folder, saes={1: tmp_path / "sae"}, layers=[1]), context())
    with pytest.raises(
        DataError, match=r"d_in = 32.* trained on hook_embedding, but blocks are read at hook_resid_post"
    ):
        _ = wrong.spaces


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"k": 300}, "k must be 1 to 256"),
        ({"k": ...}, "the key 'k' is missing"),
        ({"decoder_bias": False}, "is not the TopKSAE of its config: it holds W_dec"),
        ({"hidden_dim": 10**15}, r"W_enc has shape \[64, 256\]"),
        ({"input_dim": 10**15}, r"W_enc has shape \[64, 256\]"),
        ({"hidden_dim": 128}, r"W_enc has shape \[64, 256\]"),
    ],
)
def test_configs_that_are_refused(tmp_path, w, changes, says):
    with pytest.raises(DataError, match=says):
        load(write(tmp_path, w, **changes))


def test_weights_that_are_refused(tmp_path, w):
    with pytest.raises(DataError, match="W_enc holds values that are not finite"):
        load(write(tmp_path, {**w, "W_enc": torch.full((D_IN, D_SAE), torch.nan)}))
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(DataError, match="cannot be read as safetensors"):
        load(tmp_path)
