"""Evaluate the trained models on the demo's pictures, on which none of them was trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import saeviz
from saeviz.typing import Mask
from saeviz_gallery import GalleryOptions
from saeviz_gallery.concepts import CONCEPTS, compose
from saeviz_gallery.panel import PANEL
from saeviz_gallery.provider import Gallery
from saeviz_gallery.training.captions import DISTRACTORS, TEMPLATES
from saeviz_gallery.training.pictures import presence
from saeviz_gallery.training.sae import LAYERS, K, encode

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.floating[Any]]


def measure(demo: Path) -> None:
    """Print the tables of the README."""
    options = GalleryOptions()
    items = list(Gallery(options, saeviz.Context()).iter_images())
    present = presence([compose(f"gallery:{options.seed}", index) for index in range(options.count)])
    images, texts, tokens = _clip(demo / "clip", items)
    similarities = images @ texts.T
    features = {layer: _features(demo / f"sae-layer{layer}", tokens[layer]) for layer in LAYERS}
    planted = {concept for effects in PANEL.values() for concept in effects}
    print(f"{'concept':14}  share   AUC  " + "  ".join(f"layer {layer}" for layer in LAYERS))
    for column, concept in enumerate(CONCEPTS):
        here = present[:, column]
        best = "  ".join(f"{best_correlation(cls, here):7.2f}" for cls in features.values())
        mark = "*" if concept in planted else " "
        print(f"{concept:14}{mark} {here.mean():5.2f}  {_auc(similarities[:, column], here):.3f}  {best}")
    distractors = similarities[:, len(CONCEPTS) :]
    print(f"mean cosine with a concept that is there {similarities[:, : len(CONCEPTS)][present].mean():.2f}, ", end="")
    print(f"with one that is not {similarities[:, : len(CONCEPTS)][~present].mean():.2f}, ", end="")
    print(f"with a distractor {distractors.mean():.2f}")
    cosines = _embedder(demo / "embedder", items)
    print(f"embedder: cosine of two pictures {cosines.mean():.3f}, sd {cosines.std():.3f}; two that share", end=" ")
    print(", ".join(f"{concept} {_among(cosines, present[:, i]):.2f}" for i, concept in enumerate(CONCEPTS)))


def best_correlation(features: Floats, here: Mask) -> float:
    """The largest |r| between a feature and the presence of a concept; features without variance are left out."""
    varied = features[:, features.std(axis=0) > 0]
    centred, target = varied - varied.mean(axis=0), here - here.mean()
    r = centred.T @ target / np.sqrt((centred**2).sum(axis=0) * (target**2).sum())
    return float(r[np.abs(r).argmax()])


def _clip(folder: Path, items: list[saeviz.ImageItem]) -> tuple[Floats, Floats, dict[int, Tensor]]:
    """Unit rows of images and of words (each the mean over the templates), and all tokens per layer."""
    import open_clip
    import torch

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    tokens: dict[int, Tensor] = {}
    for layer in LAYERS:
        block = model.visual.transformer.resblocks[layer]
        block.register_forward_hook(lambda _block, _inputs, output, layer=layer: tokens.update({layer: output}))
    with torch.inference_mode():
        images = model.encode_image(torch.stack([transform(item.open()) for item in items]), normalize=True)
        words = [tokenize([template.format(word) for template in TEMPLATES]) for word in (*CONCEPTS, *DISTRACTORS)]
        texts = torch.stack([model.encode_text(word, normalize=True).mean(0) for word in words])
    return images.numpy(), torch.nn.functional.normalize(texts, dim=1).numpy(), tokens


def _features(folder: Path, tokens: Tensor) -> Floats:
    """Features of the CLS tokens; prints how well the SAE does on all tokens."""
    import torch

    weights = torch.load(folder / "weights.pt", weights_only=True)
    with torch.inference_mode():
        features = encode(weights, tokens)
        error = (tokens - features @ weights["W_dec"] - weights["b_dec"]).square()
        variance = (tokens - tokens.mean(dim=0)).square()
    explained = [1 - float(error[:, part].sum() / variance[:, part].sum()) for part in (slice(0, 1), slice(1, None))]
    fired = (features > 0).any(dim=0).any(dim=0)
    often = int(((features[:, 0] > 0).sum(dim=0) >= 10).sum())
    print(f"{folder.name}: explained variance CLS {explained[0]:.3f}, patches {explained[1]:.3f};", end=" ")
    print(f"k {K}; dead {int((~fired).sum())} of {len(fired)}; on CLS of 10 pictures or more {often}")
    return np.asarray(features[:, 0].numpy())


def _embedder(folder: Path, items: list[saeviz.ImageItem]) -> Floats:
    """Cosines of all pairs, `[n, n]`."""
    import timm
    import torch

    model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model))
    with torch.inference_mode():
        vectors = torch.nn.functional.normalize(model(torch.stack([transform(item.open()) for item in items])), dim=1)
    return np.asarray((vectors @ vectors.T).numpy())


def _among(cosines: Floats, here: Mask) -> float:
    block = cosines[np.ix_(here, here)]
    return float(block[~np.eye(len(block), dtype=bool)].mean())


def _auc(values: Floats, here: Mask) -> float:
    """The share of pairs, one picture with the concept and one without, in which the former has the higher value."""
    return float((values[here][:, None] > values[~here][None, :]).mean())
