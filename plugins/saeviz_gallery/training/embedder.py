"""Train the embedder that judges monosemanticity: a small timm network that has never seen CLIP nor a caption.

Contrastive (SimCLR, Chen et al., 2020) with two views of a picture: it and a second drawing of the same
composition, both cropped and flipped at random. Half of the batches have pictures of one palette, which colour
does not distinguish; otherwise the embedding would represent little but colour.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz_gallery.concepts import PALETTES
from saeviz_gallery.training.pictures import EMBEDDER_SIZE, Pictures

if TYPE_CHECKING:
    from torch import Tensor

ARCHITECTURE = "test_byobnet"
EPOCHS = 3
BATCH = 256
LEARNING_RATE = 2e-3
TEMPERATURE = 0.1
MEAN = STD = (0.5, 0.5, 0.5)


def train_embedder(first: Pictures, second: Pictures, folder: Path) -> None:
    """Train on two drawings of each composition and write the folder."""
    import timm
    import torch

    torch.manual_seed(0)
    model = timm.create_model(ARCHITECTURE, num_classes=0)
    _fit(model, first.pixels, second.pixels, first.presence[:, : len(PALETTES)].argmax(axis=1))
    folder.mkdir(parents=True, exist_ok=True)
    _save(model, folder)


def _fit(model: Any, first: np.ndarray, second: np.ndarray, palette: np.ndarray) -> None:
    import torch

    steps = len(first) // BATCH
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=EPOCHS * steps)
    rng = np.random.default_rng(0)
    for epoch in range(EPOCHS):
        losses = []
        for step in range(steps):
            pool = np.flatnonzero(palette == step // 2 % len(PALETTES)) if step % 2 else np.arange(len(first))
            chosen = np.sort(rng.choice(pool, BATCH, replace=False))
            views = torch.cat([_view(first[chosen], rng), _view(second[chosen], rng)])
            loss = _loss(torch.nn.functional.normalize(model(views), dim=1))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(f"embedder: epoch {epoch + 1} of {EPOCHS}, loss {np.mean(losses):.4f}", flush=True)


def _view(pixels: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Each picture cropped to 60 to 100 % of its sides, half of them flipped."""
    import torch

    n = len(pixels)
    x = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
    zoom = torch.from_numpy(rng.uniform(0.6, 1.0, n))
    slack = 1 - zoom
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = zoom * torch.from_numpy(rng.choice((-1.0, 1.0), n))
    theta[:, 1, 1] = zoom
    theta[:, 0, 2] = slack * torch.from_numpy(rng.uniform(-1, 1, n))
    theta[:, 1, 2] = slack * torch.from_numpy(rng.uniform(-1, 1, n))
    grid = torch.nn.functional.affine_grid(theta, list(x.shape), align_corners=False)
    return torch.nn.functional.grid_sample(x, grid, align_corners=False, padding_mode="reflection")


def _loss(vectors: Tensor) -> Tensor:
    """NT-Xent: each view has to find its partner among all other views in the batch."""
    import torch

    n = len(vectors) // 2
    logits = vectors @ vectors.T / TEMPERATURE
    logits = logits.masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))
    partners = torch.arange(2 * n).roll(n)
    return torch.nn.functional.cross_entropy(logits, partners)


def _save(model: Any, folder: Path) -> None:
    """A timm `local-dir` folder; the values are stored as float16 and loaded as float32."""
    import torch
    from safetensors.torch import save_file

    size = EMBEDDER_SIZE
    config = {
        "architecture": ARCHITECTURE,
        "num_classes": 0,
        "num_features": model.num_features,
        "pretrained_cfg": {
            "tag": "saeviz_gallery",
            "input_size": [3, size, size],
            "fixed_input_size": False,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": MEAN,
            "std": STD,
            "num_classes": 0,
            **{key: model.pretrained_cfg[key] for key in ("first_conv", "classifier")},
        },
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    values = {
        name: value.to(torch.float16) if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    save_file({name: value.contiguous() for name, value in values.items()}, str(folder / "model.safetensors"))
