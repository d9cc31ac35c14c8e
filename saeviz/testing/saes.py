"""SAEs with random weights, for extractors that are tried without trained ones."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["random_sae"]


def random_sae(path: Path | str, width: int, n_features: int = 64, seed: int = 0) -> Path:
    """Write an SAE of tokens of length `width`, in the format of saev, and return its path; needs torch.

    On each token at most four of its features fire. It does not say of which model and layer it is.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    decoder = torch.nn.functional.normalize(torch.randn(n_features, width, generator=generator), dim=1)
    arrays = {"W_enc": decoder.T.contiguous(), "b_enc": torch.zeros(n_features)}
    arrays |= {"W_dec": decoder, "b_dec": torch.zeros(width)}
    activation = {"cls": "TopK", "params": {"top_k": min(4, n_features)}}
    header = {"schema": 5, "cfg": {"d_model": width, "d_sae": n_features, "activation": activation}}
    with Path(path).open("wb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        torch.save(arrays, file)
    return Path(path)
