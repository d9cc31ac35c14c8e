"""The specification: every published container and variant gives what the published formulas give.

The reference is ViT-Prisma's forward pass written out in float64. Fired features must be the same, except where a
pre-activation is within 1e-4 of the point where it is decided; values agree to 1e-4 relative.
"""

from __future__ import annotations

import collections
import json
import sys
import types

import numpy as np
import pytest
import torch

import saeviz
from saeviz.toolkit.sae import SAE, SAEConfig, SAESource, SAEWeights
from saeviz_vit import ClipOptions, VitOptions
from saeviz_vit.clip import ClipExtractor
from saeviz_vit.vit import VitExtractor

DECIDED = 1e-4
RELATIVE = 1e-4
ROUNDING = 1e-5
"""Float32 rounds relative to the sum's largest terms, so that values near zero need an absolute tolerance."""

K = 7
NORMALIZATIONS = [None, "layer_norm", "constant_norm_rescale"]
ACTIVATIONS = ["relu", "topk"]
TRAINED_ON = {
    "all": {"cls_token_only": False, "use_patches_only": False, "context_size": 50},
    "cls": {"cls_token_only": True, "use_patches_only": False, "context_size": 1},
    "patches": {"cls_token_only": False, "use_patches_only": True, "context_size": 49},
}
SPELLINGS = {
    "objects": {
        "device": {"__type__": "torch.device", "value": "cuda"},
        "dtype": {"__type__": "torch.dtype", "value": "torch.float32"},
    },
    "text": {"device": "cuda", "dtype": "torch.float32"},
}


class Reference:
    """Published formulas, x `[n, d_in]`, all in float64."""

    def __init__(self, x, weights, normalization, activation):
        w_enc, b_enc, w_dec, b_dec = (weights[name].double().numpy() for name in ("W_enc", "b_enc", "W_dec", "b_dec"))
        x = np.asarray(x, np.float64)
        if normalization == "layer_norm":
            mu = x.mean(1, keepdims=True)
            s = (x - mu).std(1, ddof=1, keepdims=True)
            normed, back = (x - mu) / (s + 1e-5), lambda y: y * s + mu
        elif normalization == "constant_norm_rescale":
            c = np.sqrt(x.shape[1]) / np.sqrt((x**2).sum(1, keepdims=True))
            normed, back = x * c, lambda y: y / c
        else:
            normed, back = x, lambda y: y
        self.pre = (normed - b_dec) @ w_enc + b_enc
        self.cut = np.zeros((len(x), 1))
        if activation == "topk":
            self.cut = np.maximum(np.sort(self.pre, axis=1)[:, [-K]], 0)
        kept = self.pre >= self.cut
        self.features = np.where(kept, np.maximum(self.pre, 0), 0)
        self.estimate = back(self.features @ w_dec + b_dec)

    def check(self, found):
        decided = np.abs(self.pre - self.cut) > DECIDED
        found = np.asarray(found)
        np.testing.assert_array_equal((found > 0)[decided], (self.features > 0)[decided])
        both = (found > 0) & (self.features > 0)
        np.testing.assert_allclose(found[both], self.features[both], rtol=RELATIVE, atol=ROUNDING)
        assert both.any()
        assert (found >= 0).all()


def pickled(config, weights):
    """`{"cfg": ..., "state_dict": ...}` with the class of the published pickles, as long as it takes to save."""
    names = ["vit_prisma", "vit_prisma.sae", "vit_prisma.sae.config"]
    sys.modules.update({name: types.ModuleType(name) for name in names})
    cls = type("VisionModelSAERunnerConfig", (), {"__module__": names[-1]})
    sys.modules[names[-1]].VisionModelSAERunnerConfig = cls
    cfg = cls()
    cfg.__dict__.update(config, dtype=torch.float32, device=torch.device("cpu"))
    return {"cfg": cfg, "state_dict": collections.OrderedDict(weights)}


CONTAINERS = {
    "plain weights.pt": ("weights.pt", lambda config, weights: collections.OrderedDict(weights)),
    "plain n_images": ("n_images_2600058.pt", lambda config, weights: collections.OrderedDict(weights)),
    "pickled weights.pt": ("weights.pt", pickled),
    "pickled n_images": ("n_images_2600058.pt", pickled),
}


@pytest.fixture
def publish(make, tmp_path):
    """Writes a repository as it is published; gives its folder and weights."""

    def write(container, normalization, activation, trained_on, spelling="objects", seed=0, **changes):
        kwargs = {"k": K} if activation == "topk" else {}
        config = make.config(
            normalize_activations=normalization,
            activation_fn_str=activation,
            activation_fn_kwargs=kwargs,
            **TRAINED_ON[trained_on],
            **SPELLINGS[spelling],
            **changes,
        )
        weights, folder = make.weights(seed), tmp_path / f"sae{seed}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        name, wrap = CONTAINERS[container]
        torch.save(wrap(config, weights), folder / name)
        for module in [module for module in sys.modules if module.startswith("vit_prisma")]:
            del sys.modules[module]
        return folder, weights

    return write


@pytest.fixture
def x(make):
    """Activations with a mean and a few massive dimensions, as residual streams have."""
    random = np.random.default_rng(3)
    x = random.normal(size=(64, make.width)) * 2 + random.normal(size=make.width)
    x[:, :2] += [30, -20]
    return torch.tensor(x, dtype=torch.float32)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("trained_on", TRAINED_ON)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_a_published_sae(publish, x, container, normalization, activation, trained_on, spelling):
    folder, weights = publish(container, normalization, activation, trained_on, spelling)
    source = SAESource(1, folder, None, saeviz.Context(offline=True))
    sae = SAE(source.config, source.read_weights(), formula="published", device=torch.device("cpu"))
    reference = Reference(x, weights, normalization, activation)

    assert source.config.trained_on == trained_on
    found = sae.encode(x)
    reference.check(found)
    np.testing.assert_allclose(sae.decode(found, x), reference.estimate, rtol=RELATIVE, atol=2e-4)


def test_massive_dimensions_cost_no_precision(make):
    """Residual streams have dimensions that are 60 times the others, alike in every token; b_dec takes them off."""
    d_in, d_sae = 256, 512
    weights = make.weights(0, d_in, d_sae)
    weights["b_dec"][:3] = torch.tensor([-60.0, 25.0, 12.0])
    x = weights["b_dec"] + torch.randn(64, d_in, generator=torch.Generator().manual_seed(0)) / 4
    sae = SAE(SAEConfig(d_in=d_in, d_sae=d_sae), SAEWeights(**weights), formula="published", device=torch.device("cpu"))
    reference = Reference(x, weights, None, "relu")
    assert np.abs(sae.encode(x).double().numpy() - reference.features).max() < 4e-6


# -- from pictures -------------------------------------------------------------------------------------------------


@pytest.fixture(params=["clip", "vit"])
def model(request):
    """A miniature model: how to extract with it, and what gives the output of its block 1 in its own library."""
    folder = request.getfixturevalue(f"{request.param}_folder")
    if request.param == "clip":
        return lambda **o: ClipExtractor(ClipOptions(clip_checkpoint=folder, layers=[1], **o), CPU), clip_block(folder)
    return lambda **o: VitExtractor(VitOptions(model=folder, **o), CPU), vit_block(folder)


CPU = saeviz.Context(device="cpu")


def clip_block(folder):
    def tokens(images):
        import open_clip

        model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
        seen = []
        model.eval().visual.transformer.resblocks[1].register_forward_hook(lambda _m, _i, out: seen.append(out))
        with torch.no_grad():
            model.visual(torch.stack([transform(item.open()) for item in images]))
        return seen[0]

    return tokens


def vit_block(folder):
    def tokens(images):
        from transformers import AutoImageProcessor, AutoModel

        pictures = [item.open().convert("RGB") for item in images]
        pixels = AutoImageProcessor.from_pretrained(folder)(pictures, return_tensors="pt")
        with torch.no_grad():
            return AutoModel.from_pretrained(folder).eval()(**pixels, output_hidden_states=True).hidden_states[2]

    return tokens


SEEN = {"all": ["cls", "patch-max", "patch-mean"], "cls": ["cls"], "patches": ["patch-max", "patch-mean"]}


@pytest.mark.parametrize("trained_on", TRAINED_ON)
@pytest.mark.parametrize(("normalization", "activation"), [(None, "relu"), (None, "topk"), ("layer_norm", "relu")])
def test_features_of_pictures(model, publish, images, normalization, activation, trained_on):
    (extract, block), tokens = model, SEEN[trained_on]
    folder, weights = publish("pickled weights.pt", normalization, activation, trained_on)
    batches = {batch.space.tokens: batch for batch in extract(saes={1: folder}, tokens=tokens).extract(images)}
    states = block(images)
    n, n_tokens, width = states.shape
    reference = Reference(states.reshape(-1, width), weights, normalization, activation)

    assert list(batches) == tokens
    features = reference.features.reshape(n, n_tokens, -1)
    expected = {"cls": features[:, 0], "patch-max": features[:, 1:].max(1), "patch-mean": features[:, 1:].mean(1)}
    undecided = (np.abs(reference.pre - reference.cut) <= DECIDED).reshape(n, n_tokens, -1)
    unsure = {"cls": undecided[:, 0], "patch-max": undecided[:, 1:].any(1), "patch-mean": undecided[:, 1:].any(1)}
    for kind, batch in batches.items():
        found, decided = batch.matrix.toarray(), ~unsure[kind]
        assert decided.mean() > 0.75
        np.testing.assert_array_equal((found > 0)[decided], (expected[kind] > 0)[decided])
        np.testing.assert_allclose(found[decided], expected[kind][decided], rtol=RELATIVE, atol=ROUNDING)
