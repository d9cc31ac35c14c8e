"""The demo's weights: in the published containers, small, and good enough to find what the panel cares about."""

from __future__ import annotations

import json
import socket
import tomllib
from pathlib import Path

import numpy as np
import pytest

import saeviz
import saeviz_gallery
from saeviz_gallery import GalleryOptions
from saeviz_gallery.concepts import CONCEPTS
from saeviz_gallery.panel import PANEL
from saeviz_gallery.provider import Gallery

torch = pytest.importorskip("torch", reason="needs torch")
open_clip = pytest.importorskip("open_clip", reason="needs open_clip")
timm = pytest.importorskip("timm", reason="needs timm")

DEMO = Path(saeviz_gallery.__file__).parent / "demo"
RUN = tomllib.loads((DEMO / "run.toml").read_text(encoding="utf-8"))
SAES = {int(layer): DEMO / folder for layer, folder in RUN["extractor"]["saes"].items()}
VOCABULARY = (DEMO / "vocabulary.txt").read_text(encoding="utf-8").split("\n")[:-1]
PLANTED = sorted({concept for effects in PANEL.values() for concept in effects})


@pytest.fixture(scope="module")
def clip():
    folder = f"local-dir:{DEMO / RUN['extractor']['clip_checkpoint']}"
    model, _, transform = open_clip.create_model_and_transforms(folder)
    return model.eval(), transform, open_clip.get_tokenizer(folder)


@pytest.fixture(scope="module")
def items():
    return list(
        Gallery(
            GalleryOptions(**{k: v for k, v in RUN["images"].items() if k != "use"}), saeviz.Context()
        ).iter_images()
    )


@pytest.fixture(scope="module")
def present(items):
    return np.array([[concept in item.metadata["concepts"].split(",") for concept in CONCEPTS] for item in items])


@pytest.fixture(scope="module")
def seen(clip, items):
    """Image embeddings, and the output of each block that has an SAE, of all demo pictures."""
    model, transform, _ = clip
    outputs = {}
    for layer in SAES:
        model.visual.transformer.resblocks[layer].register_forward_hook(
            lambda _block, _inputs, output, layer=layer: outputs.update({layer: output})
        )
    with torch.inference_mode():
        images = model.encode_image(torch.stack([transform(item.open()) for item in items]), normalize=True)
    return images, outputs


def sae(folder):
    return torch.load(folder / "weights.pt", weights_only=True), json.loads((folder / "config.json").read_text())


def features(folder, x):
    """The published forward pass."""
    weights, config = sae(folder)
    before = (x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    if config["activation_fn_str"] == "topk":
        values, places = before.topk(config["activation_fn_kwargs"]["k"], dim=-1)
        before = torch.zeros_like(before).scatter(-1, places, values)
    return before.relu()


def test_all_weights_together_are_small():
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) <= 8_000_000


def test_the_run_file_uses_the_gallery_and_only_files_beside_it():
    assert RUN["images"]["use"] == "gallery"
    assert "dir" not in RUN["run"]
    for name in (RUN["extractor"]["clip_checkpoint"], RUN["embeddings"]["model"], RUN["labeler"]["vocabulary"]):
        assert (DEMO / name).exists()
    assert set(SAES) == set(RUN["extractor"]["layers"])


def test_clip_is_a_small_vision_transformer_with_49_patches(clip):
    model, transform, _ = clip
    assert model.visual.grid_size == (7, 7)
    assert all(value.dtype == torch.float32 for value in model.parameters())
    assert transform(Gallery(GalleryOptions(count=1), saeviz.Context()).get_image("gallery/0000").open()).shape == (
        3,
        *model.visual.image_size,
    )


def test_the_tokenizer_comes_with_the_folder_and_needs_no_network(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it went to the network"))
    tokenize = open_clip.get_tokenizer(f"local-dir:{DEMO / 'clip'}")
    rows = tokenize(["a picture of stripes", "Stripes", "", "never heard of Zürich 東京", "stripes " * 50])
    assert rows.shape == (5, 16)
    end = rows.max()
    assert ((rows == end).sum(dim=1) == 1).all(), "the text tower reads at the highest id, which ends every text"
    assert len(set(rows[1].tolist())) == 4, "start, one word, end, padding"


def test_every_word_of_the_vocabulary_is_known_to_the_text_tower(clip):
    """A word that was trained is few tokens long; letters of an unknown one are many."""
    _, _, tokenize = clip
    rows = tokenize(VOCABULARY)
    assert ((rows != 0).sum(dim=1) == 3).all()
    assert set(CONCEPTS) < set(VOCABULARY)


@pytest.mark.parametrize("layer", SAES)
def test_saes_are_in_the_published_format(layer, clip):
    weights, config = sae(SAES[layer])
    width, latents = config["d_in"], config["d_sae"]
    assert list(weights) == ["W_enc", "b_enc", "W_dec", "b_dec"]
    assert {name: tuple(value.shape) for name, value in weights.items()} == {
        "W_enc": (width, latents),
        "W_dec": (latents, width),
        "b_enc": (latents,),
        "b_dec": (width,),
    }
    assert torch.allclose(weights["W_dec"].norm(dim=1), torch.ones(latents), atol=1e-4)
    assert width == clip[0].visual.conv1.out_channels
    assert (config["hook_point_layer"], config["layer_subtype"]) == (layer, "hook_resid_post")
    assert config["normalize_activations"] is None
    assert (config["context_size"], config["cls_token_only"], config["use_patches_only"]) == (50, False, False)
    assert config["dtype"] == {"__type__": "torch.dtype", "value": "torch.float32"}
    assert latents == width * config["expansion_factor"]


@pytest.mark.parametrize("layer", SAES)
def test_saes_explain_what_they_read_with_few_features(layer, seen):
    weights, _ = sae(SAES[layer])
    x = seen[1][layer]
    found = features(SAES[layer], x)
    for part in (slice(0, 1), slice(1, None)):
        error = (x - found @ weights["W_dec"] - weights["b_dec"])[:, part]
        assert error.square().sum() < 0.25 * (x - x.mean(dim=0))[:, part].square().sum()
    assert (found > 0).sum(dim=-1).float().mean() < 0.05 * found.shape[-1]
    assert (found > 0).flatten(0, 1).any(dim=0).float().mean() > 0.8


@pytest.mark.parametrize("concept", PLANTED)
def test_some_feature_stands_for_every_planted_concept(concept, seen, present):
    target = present[:, CONCEPTS.index(concept)].astype(float)
    best = 0.0
    for layer, folder in SAES.items():
        cls = features(folder, seen[1][layer][:, 0]).numpy()
        for column in cls.T[cls.std(axis=0) > 0]:
            best = max(best, np.corrcoef(column, target)[0, 1])
    assert best >= 0.5


@pytest.mark.parametrize("concept", PLANTED)
def test_the_text_tower_recognises_every_planted_concept(concept, clip, seen, present):
    """A picture with the concept is closer to its name than one without, for most pairs of pictures."""
    model, _, tokenize = clip
    with torch.inference_mode():
        word = model.encode_text(tokenize([concept, f"a picture with {concept}"]), normalize=True).mean(dim=0)
    similar = (seen[0] @ word).numpy()
    here = present[:, CONCEPTS.index(concept)]
    assert (similar[here][:, None] > similar[~here][None, :]).mean() > 0.85


def test_no_picture_looks_like_a_distractor(clip, seen, present):
    model, _, tokenize = clip
    with torch.inference_mode():
        similar = (seen[0] @ model.encode_text(tokenize(VOCABULARY), normalize=True).T).numpy()
    is_concept = np.array([word in CONCEPTS for word in VOCABULARY])
    assert similar[:, ~is_concept].max(axis=1).mean() < similar[:, is_concept][present].mean() - 0.3


def test_the_embedder_finds_pictures_alike_that_share_a_concept(items, present):
    model = timm.create_model(f"local-dir:{DEMO / 'embedder'}", pretrained=True, num_classes=0).eval()
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model))
    with torch.inference_mode():
        vectors = torch.nn.functional.normalize(model(torch.stack([transform(i.open()) for i in items])), dim=1)
    cosines = (vectors @ vectors.T).numpy()
    pairs = ~np.eye(len(items), dtype=bool)
    for concept in PLANTED:
        here = present[:, CONCEPTS.index(concept)]
        both, one = here[:, None] & here[None, :] & pairs, here[:, None] ^ here[None, :]
        assert cosines[both].mean() > cosines[one].mean() + 0.1 * cosines[pairs].std(), concept
