"""Prisma's SAEs of DINO ViT-B/16, in miniature: a `ViTModel` of transformers, the configs as they are published."""

from __future__ import annotations

import json
import logging
import shutil

import numpy as np
import pytest
import torch

import saeviz
from saeviz import DataError
from saeviz.toolkit.sae import find
from saeviz_vit import VitOptions
from saeviz_vit.vit import VitExtractor

N_TOKENS = 17


@pytest.fixture
def dino(vit_folder, tmp_path):
    """The model under the name that the SAEs know it by."""
    return shutil.copytree(vit_folder, tmp_path / "dino-vitb16")


@pytest.fixture
def sae(make, tmp_path):
    """A copy of the repository of layer 1, so that it is known by its name; `layer_subtype` is `resid_post` there."""
    folder = tmp_path / find("prisma-dino-b16-1").id.partition("/")[2]
    weights = {"cfg": None, "state_dict": make.weights()}
    changes = {"model_name": "facebook/dino-vitb16", "layer_subtype": "resid_post", "context_size": N_TOKENS}
    return make.sae(folder, weights, image_size=32, device="cuda", dtype="torch.float32", **changes)


def squares(image):
    """Short edge to 32, bicubic, then the centre, then RGB: what ViT-Prisma trained these SAEs on."""
    from PIL import Image

    short = min(image.size)
    size = tuple(32 if edge == short else int(32 * edge / short) for edge in image.size)
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = round((image.width - 32) / 2), round((image.height - 32) / 2)
    return image.crop((left, top, left + 32, top + 32)).convert("RGB")


def activations(folder, pictures):
    """Output of block 1 as transformers gives it, of pictures of 32 by 32 pixels."""
    from transformers import ViTModel

    pixels = torch.tensor(np.stack([np.asarray(picture) for picture in pictures]) / 255 * 2 - 1, dtype=torch.float32)
    with torch.no_grad():
        model = ViTModel.from_pretrained(folder, add_pooling_layer=False).eval()
        return model(pixels.permute(0, 3, 1, 2), output_hidden_states=True).hidden_states[2]


@pytest.mark.parametrize("tokens", ["cls", "patch-max"])
def test_features_are_those_of_the_published_pipeline(dino, sae, make, images, caplog, tokens):
    images = [item for item in images if item.open().mode in ("RGB", "L", "YCbCr")]
    extractor = VitExtractor(VitOptions(model=dino, saes={1: sae}, tokens=[tokens]), saeviz.Context(device="cpu"))
    with caplog.at_level(logging.WARNING, "saeviz"):
        (batch,) = extractor.extract(images)
    doubts = [record.getMessage() for record in caplog.records if record.name.startswith("saeviz")]
    assert doubts == []

    states = activations(dino, [squares(item.open()) for item in images])
    features, _ = make.encode(states.reshape(-1, make.width), make.weights())
    features = features.reshape(len(images), N_TOKENS, -1)
    expected = features[:, 0] if tokens == "cls" else features[:, 1:].max(1)
    np.testing.assert_allclose(batch.matrix.toarray(), expected, atol=2e-4)


def test_the_models_own_image_processor_can_be_asked_for(dino, sae, images):
    """It squeezes pictures that are not square instead of cutting them."""
    wide = max(images, key=lambda item: item.open().width / item.open().height)

    def features(**options):
        extractor = VitExtractor(VitOptions(model=dino, saes={1: sae}, **options), saeviz.Context(device="cpu"))
        return extractor.extract_from_image(wide).features

    assert not np.allclose(features(), features(centre_crop=False), atol=0.02)
    np.testing.assert_array_equal(features(), features(centre_crop=True))


def test_another_hook_point_is_still_refused(dino, make, tmp_path):
    folder = make.sae(tmp_path / "other", model_name="facebook/dino-vitb16", layer_subtype="mlp_out")
    with pytest.raises(DataError, match="trained on hook_mlp_out, but blocks are read at hook_resid_post"):
        _ = VitExtractor(VitOptions(model=dino, saes={1: folder}), saeviz.Context()).spaces


def test_the_centre_of_what_has_no_square_size(dino, sae):
    (dino / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 48}})
    )
    extractor = VitExtractor(VitOptions(model=dino, saes={1: sae}), saeviz.Context(device="cpu"))
    with pytest.raises(DataError, match=r"has no square size; set extractor\.centre_crop = false"):
        list(extractor.extract([saeviz.ImageItem("a", b"")]))
