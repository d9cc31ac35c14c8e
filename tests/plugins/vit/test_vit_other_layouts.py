"""Folders as other programs leave them: ViT-Prisma's trainer, SAELens 5, transformers 5."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import saeviz
from saeviz.toolkit.sae import SAESource

OFFLINE = saeviz.Context(device="cpu", offline=True)


def source(path) -> SAESource:
    return SAESource(1, str(path), None, OFFLINE)


def leave(folder, make, *names, **changes):
    """What ViT-Prisma's trainer leaves: no `d_sae`, and weights named after the number of images."""
    make.sae(folder, d_sae=..., **changes)
    (folder / "weights.pt").unlink()
    for number, name in enumerate(names):
        torch.save(make.weights(seed=number), folder / name)
    return folder


def test_what_vit_prismas_trainer_leaves(tmp_path, make):
    folder = leave(tmp_path, make, "n_images_1300000.pt")
    for given in (folder, folder / "n_images_1300000.pt"):
        assert (source(given).config.d_in, source(given).config.d_sae) == (make.width, make.d_sae)
        assert torch.equal(source(given).read_weights().W_enc, make.weights()["W_enc"])


def test_the_last_of_several_checkpoints_is_used_and_that_is_said(tmp_path, make, caplog):
    folder = leave(tmp_path, make, "n_images_999.pt", "n_images_20000.pt", "n_images_1000.pt")
    with caplog.at_level("WARNING", "saeviz"):
        assert torch.equal(source(folder).read_weights().W_enc, make.weights(seed=1)["W_enc"])
    assert "has 3 checkpoints; n_images_20000.pt is used" in caplog.text
    assert torch.equal(source(folder / "n_images_999.pt").read_weights().W_enc, make.weights(seed=0)["W_enc"])


def test_without_d_sae_and_expansion_factor_nothing_is_guessed(tmp_path, make):
    folder = leave(tmp_path, make, "n_images_1.pt", expansion_factor=...)
    with pytest.raises(saeviz.DataError, match=r"the key 'd_sae' is missing"):
        _ = source(folder).config


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "topk", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5}},
        {"architecture": "topk", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5}, "k": None},
        {"architecture": "standard", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5}},
        {"architecture": "topk", "k": 5},
    ],
)
def test_top_k_as_saelens_5_saves_it(tmp_path, make, changes):
    from safetensors.torch import save_file

    config = {
        "d_in": make.width,
        "d_sae": make.d_sae,
        "model_name": "tiny",
        "hook_name": "blocks.1.hook_resid_post",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        **changes,
    }
    (tmp_path / "cfg.json").write_text(json.dumps(config))
    save_file(make.weights(), tmp_path / "sae_weights.safetensors")
    assert source(tmp_path).config.k == 5
    assert torch.equal(source(tmp_path).read_weights().W_dec, make.weights()["W_dec"])


def test_top_k_without_k_is_refused(tmp_path, make):
    config = {"d_in": make.width, "d_sae": make.d_sae, "model_name": "tiny", "hook_name": "blocks.1.hook_resid_post"}
    config |= {"apply_b_dec_to_input": True, "normalize_activations": "none", "architecture": "topk"}
    (tmp_path / "cfg.json").write_text(json.dumps(config | {"activation_fn_kwargs": {}}))
    with pytest.raises(saeviz.DataError, match=r"k must be 1 to"):
        _ = source(tmp_path).config


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside one without the image processor"])
def test_an_image_processor_inside_processor_config(vit_folder, make, tmp_path, beside):
    folder = tmp_path / "tiny"
    shutil.copytree(vit_folder, folder)
    file = folder / "preprocessor_config.json"
    nested = {"processor_class": "CLIPProcessor", "image_processor": json.loads(file.read_text())}
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "X"} if beside else nested))
    if not beside:
        file.unlink()
    sae = make.sae(tmp_path / "sae")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8))
    one, other = (
        saeviz.component("extractor", "vit-sae", context=OFFLINE, model=str(model), saes={1: str(sae)})
        .extract_from_image(image)
        .features
        for model in (vit_folder, folder)
    )
    np.testing.assert_array_equal(one, other)
