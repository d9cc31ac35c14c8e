"""What tests of the extractors share: the context of a run, what comes out of one, a reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import saeviz


class Failures(list):
    def __call__(self, subject, error):
        self.append((subject, error))


def context(**changes):
    return saeviz.Context(device="cpu", **changes)


def vit_states(folder: Path, images) -> list[torch.Tensor]:
    from transformers import AutoImageProcessor, AutoModel

    pictures = [item.open().convert("RGB") for item in images]
    pixels = AutoImageProcessor.from_pretrained(folder)(pictures, return_tensors="pt")
    with torch.no_grad():
        return AutoModel.from_pretrained(folder).eval()(**pixels, output_hidden_states=True).hidden_states[1:]


def collect(batches) -> dict[str, tuple[list[str], np.ndarray]]:
    found: dict[str, tuple[list[str], list[np.ndarray]]] = {}
    for batch in batches:
        ids, rows = found.setdefault(str(batch.space), ([], []))
        ids.extend(batch.item_ids)
        rows.append(batch.matrix.toarray())
    return {space: (ids, np.concatenate(rows)) for space, (ids, rows) in found.items()}
