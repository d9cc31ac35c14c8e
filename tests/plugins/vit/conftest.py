"""Small models with random weights, stored as the real ones are, and the published formulas in NumPy."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import saeviz

WIDTH, D_SAE, BLOCKS = 64, 256, 3
CLIP_CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 56, "layers": BLOCKS, "width": WIDTH, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
VIT_CONFIG = {
    "hidden_size": WIDTH,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": 32,
    "patch_size": 8,
}
PREPROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 32, "width": 32},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def sae_config(**changes):
    """A `config.json` of the published kind; a change to `...` leaves the key out."""
    config = {
        "model_class_name": "HookedViT",
        "model_name": "tiny",
        "hook_point_layer": 1,
        "layer_subtype": "hook_resid_post",
        "hook_point_head_index": None,
        "context_size": 50,
        "use_patches_only": False,
        "cls_token_only": False,
        "d_in": WIDTH,
        "d_sae": D_SAE,
        "activation_fn_str": "relu",
        "activation_fn_kwargs": {},
        "normalize_activations": None,
        "architecture": "standard",
        "expansion_factor": D_SAE // WIDTH,
        "device": {"__type__": "torch.device", "value": "cuda"},
        "dtype": {"__type__": "torch.dtype", "value": "torch.float32"},
        **changes,
    }
    return {key: value for key, value in config.items() if value is not ...}


def sae_weights(seed=0, d_in=WIDTH, d_sae=D_SAE):
    """Weights with a decoder bias too large to be forgotten."""
    rng = np.random.default_rng(seed)
    arrays = {
        "W_enc": rng.normal(size=(d_in, d_sae)) / 4,
        "b_enc": rng.normal(size=d_sae) - 1,
        "W_dec": rng.normal(size=(d_sae, d_in)) / 8,
        "b_dec": rng.normal(size=d_in),
    }
    return {name: torch.tensor(array, dtype=torch.float32) for name, array in arrays.items()}


def write_sae(folder: Path, weights=None, file="weights.pt", **changes) -> Path:
    """An SAE as it lies in a published repository."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(sae_config(**changes)))
    torch.save(sae_weights() if weights is None else weights, folder / file)
    return folder


def encode(x, weights, *, normalization=None, k=None, subtract=True):
    """The published forward pass, float64: features `[n, d_sae]` and reconstruction `[n, d_in]`."""
    w = {name: tensor.double().numpy() for name, tensor in weights.items()}
    x = np.asarray(x, np.float64)
    shift, scale_in, scale_out = 0.0, 1.0, 1.0
    if normalization == "layer_norm":
        shift = x.mean(-1, keepdims=True)
        scale_out = x.std(-1, ddof=1, keepdims=True)
        scale_in = scale_out + 1e-5
    if normalization == "constant_norm_rescale":
        scale_in = scale_out = np.linalg.norm(x, axis=-1, keepdims=True) / np.sqrt(x.shape[-1])
    inside = (x - shift) / scale_in - (w["b_dec"] if subtract else 0.0)
    features = inside @ w["W_enc"] + w["b_enc"]
    if k is not None:
        features[features < np.sort(features, axis=-1)[:, [-k]]] = 0.0
    features = np.maximum(features, 0.0)
    return features, (features @ w["W_dec"] + w["b_dec"]) * scale_out + shift


@pytest.fixture(scope="session")
def make():
    """The helpers above, for test modules."""
    return SimpleNamespace(
        config=sae_config, weights=sae_weights, sae=write_sae, encode=encode, width=WIDTH, d_sae=D_SAE, blocks=BLOCKS
    )


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory) -> Path:
    """A miniature CLIP, 7 x 7 patches, in open_clip's own folder layout."""
    import open_clip

    folder = tmp_path_factory.mktemp("clip") / "tiny"
    folder.mkdir()
    torch.manual_seed(0)
    model = open_clip.CLIP(**copy.deepcopy(CLIP_CONFIG))
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CLIP_CONFIG, "preprocess_cfg": {}}))
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return folder


@pytest.fixture(scope="session")
def vit_folder(tmp_path_factory) -> Path:
    """A miniature ViTModel, 4 x 4 patches, in the layout of the transformers library."""
    from transformers import ViTConfig, ViTModel

    folder = tmp_path_factory.mktemp("vit") / "tiny"
    torch.manual_seed(0)
    ViTModel(ViTConfig(**VIT_CONFIG), add_pooling_layer=False).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return folder


@pytest.fixture(scope="session")
def images():
    """Eleven small pictures of noise in several modes and shapes."""
    from PIL import Image

    rng = np.random.default_rng(1)
    modes = ["RGB", "L", "RGBA", "P", "CMYK", "LA", "1", "RGB", "RGB", "YCbCr", "RGB"]

    def opener(i, mode):
        pixels = rng.integers(0, 256, (60 + 3 * i, 90 - 2 * i, 3), dtype=np.uint8)
        return lambda: Image.fromarray(pixels).convert(mode)

    return [saeviz.ImageItem(f"a/{i} {mode}", opener(i, mode)) for i, mode in enumerate(modes)]


@pytest.fixture(scope="module")
def saes(make, tmp_path_factory):
    """SAEs of all three layers, with weights of their own; keys as TOML has them."""
    root = tmp_path_factory.mktemp("saes")
    return {
        str(layer): str(make.sae(root / str(layer), make.weights(layer), hook_point_layer=layer))
        for layer in range(make.blocks)
    }


@pytest.fixture
def w(make):
    """Random weights by name, float32."""
    return make.weights(5)


@pytest.fixture
def x():
    """What an SAE reads: activations of 40 tokens."""
    return np.random.default_rng(8).normal(size=(40, WIDTH)).astype(np.float32) * 2 + 0.3
