"""A real vision transformer and a real SAE on photographs, where these lie beside the repository."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import saeviz
from saeviz_vit import VitOptions
from saeviz_vit.vit import VitExtractor


@pytest.fixture
def photographs(shared):
    paths = sorted((shared / "oasis" / "images").iterdir())[::33]
    return [saeviz.ImageItem(path.stem, path) for path in paths]


@pytest.fixture
def extractor(shared):
    models = shared / "models"
    options = VitOptions(
        model=models / "vit-s14", saes={"8": models / "sae-vit-s14-block8"}, tokens=["patch-max", "cls"]
    )
    return VitExtractor(options, saeviz.Context(device="cpu"))


@pytest.fixture
def tokens(shared, photographs):
    """What transformers itself gives as output of block 8: `[images, 257, 384]`."""
    from transformers import AutoImageProcessor, AutoModel

    folder = shared / "models" / "vit-s14"
    pixels = AutoImageProcessor.from_pretrained(folder)([item.open() for item in photographs], return_tensors="pt")
    with torch.no_grad():
        return AutoModel.from_pretrained(folder).eval()(**pixels, output_hidden_states=True).hidden_states[9]


def test_features_of_real_photographs(extractor, photographs, tokens, shared, make):
    patch_max, cls = extractor.extract(photographs)
    weights = torch.load(shared / "models" / "sae-vit-s14-block8" / "weights.pt", weights_only=True)
    expected, estimate = make.encode(tokens.reshape(-1, 384), weights, k=40)
    expected = expected.reshape(len(photographs), 257, 3072)

    assert (np.diff(cls.matrix.indptr) == 40).all()
    assert 500 < np.diff(patch_max.matrix.indptr).mean() < 1400
    for found, reference in ((cls, expected[:, 0]), (patch_max, expected[:, 1:].max(1))):
        off = np.abs(found.matrix.toarray() - reference)
        # A 40th and 41st largest value that are equal to rounding may change places.
        assert (off > 2e-3).mean() < 1e-4

    x = tokens.reshape(-1, 384).double().numpy()
    rows = np.arange(len(x)) % 257 == 0
    error = ((x - estimate) ** 2).sum(1)
    for kind, figure in ((rows, 0.821), (~rows, 0.805)):
        spread = ((x[kind] - x[kind].mean(0)) ** 2).sum()
        assert 1 - error[kind].sum() / spread == pytest.approx(figure, abs=0.06)


def test_one_photograph_is_reconstructed(extractor, photographs, tokens):
    result = extractor.extract_from_image(photographs[0])
    assert result.num_active == 40
    actual = tokens[0, 0].numpy()
    assert np.linalg.norm(result.reconstruct() - actual) < 0.6 * np.linalg.norm(actual)
    assert extractor.extract_spatial(photographs[0]).grid == (16, 16)
