"""What an SAE of any format must compute, in NumPy; read and compared as an extractor does it."""

from __future__ import annotations

import numpy as np
import torch

import saeviz
from saeviz.toolkit.sae import SAE, SAESource

D_IN, D_SAE, K = 64, 256, 9
ARRAYS = ("W_enc", "b_enc", "W_dec", "b_dec")


def load(source):
    """The SAE, found and read as an extractor does it."""
    found = SAESource(1, source, None, saeviz.Context(offline=True))
    return SAE(found.config, found.read_weights(), formula="published", device=torch.device("cpu"))


def config_of(source):
    return SAESource(1, source, None, saeviz.Context(offline=True)).config


def pre(x, w, subtract):
    w = {name: tensor.double().numpy() for name, tensor in w.items()}
    return (x.astype(np.float64) - (w["b_dec"] if subtract else 0)) @ w["W_enc"] + w["b_enc"]


def decode(features, w):
    return features @ w["W_dec"].double().numpy() + w["b_dec"].double().numpy()


def relu(values):
    return np.maximum(values, 0)


def top_k(values, k=K):
    return np.where(values >= np.sort(values, axis=1)[:, [-k]], relu(values), 0)


def jump(values, threshold):
    return np.where(values > threshold, relu(values), 0)


def check(sae, x, expected, estimate):
    """As for published SAEs: fired features are the same where that is decided, values agree."""
    x = torch.tensor(x)
    found = sae.encode(x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)
    np.testing.assert_array_equal(np.asarray(found) > 0, expected > 0)
    np.testing.assert_allclose(sae.decode(found, x), estimate, rtol=1e-4, atol=2e-4)
    assert 0 < (expected > 0).mean() < 1
