"""Train a miniature CLIP in open_clip's architecture and write it as an open_clip `local-dir` folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz_gallery.concepts import CONCEPTS, Dice, compose
from saeviz_gallery.training.captions import DISTRACTORS, VOCABULARY, caption, every_word
from saeviz_gallery.training.pictures import CLIP_SIZE, STREAM, Pictures
from saeviz_gallery.training.tokenizer import CONTEXT_LENGTH, write_tokenizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PREPROCESSING: dict[str, Any] = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
CYCLES = 2
EPOCHS = 6
"""Steps of a cycle, in which the learning rate falls from its peak to zero."""
BATCH = 128
LEARNING_RATE = 3e-3


def model_config(vocabulary_size: int) -> dict[str, Any]:
    """What `open_clip.CLIP` is built from: 7 x 7 patches, five blocks of width 128."""
    return {
        "embed_dim": 96,
        "init_logit_scale": 2.3,
        "init_logit_bias": -4.0,
        "vision_cfg": {
            "image_size": CLIP_SIZE,
            "patch_size": 8,
            "width": 128,
            "head_width": 32,
            "mlp_ratio": 2.0,
            "layers": 5,
        },
        "text_cfg": {
            "context_length": CONTEXT_LENGTH,
            "vocab_size": vocabulary_size,
            "hf_tokenizer_name": "tokenizer.json of this folder",
            "width": 96,
            "heads": 3,
            "layers": 2,
        },
    }


def train_clip(pictures: Pictures, folder: Path) -> None:
    """Train on the pictures and write the folder."""
    import open_clip
    import torch
    from open_clip.model import CLIP

    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary_size = write_tokenizer(folder, every_word())
    config = {"model_cfg": model_config(vocabulary_size), "preprocess_cfg": PREPROCESSING}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    model = CLIP(**config["model_cfg"])
    tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    for cycle in range(CYCLES):
        _fit(model, tokenize, pictures, cycle)
        _save(model, folder / "open_clip_model.safetensors")


def normalised(pixels: np.ndarray) -> Tensor:
    """Convert uint8 `[n, size, size, 3]` to the model's input, float32 `[n, 3, size, size]`."""
    import torch

    x = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(PREPROCESSING[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    return (x - mean) / std


def _fit(model: Any, tokenize: Any, pictures: Pictures, cycle: int) -> None:
    """Learn which texts fit which pictures: their captions, the names of all concepts, and the distractors."""
    import torch

    count = len(pictures.pixels)
    steps = count // BATCH
    concepts = [compose(STREAM, index).concepts for index in range(count)]
    optimizers = _optimizers(model)
    schedules = [_schedule(optimizer, EPOCHS * steps) for optimizer in optimizers]
    dice, rng = Dice(f"captions/{cycle}"), np.random.default_rng(cycle)
    for epoch in range(EPOCHS):
        order = rng.permutation(count)
        losses = []
        for step in range(steps):
            chosen = np.sort(order[step * BATCH : (step + 1) * BATCH])
            texts, named = zip(*(caption(concepts[index], dice) for index in chosen), strict=True)
            fits = _fits([*named, *((concept,) for concept in CONCEPTS)], pictures.presence[chosen])
            images = normalised(pictures.pixels[chosen])
            if dice.chance(0.5):
                images = images.flip(-1)
            loss = _loss(model, images, tokenize([*texts, *VOCABULARY]), fits)
            model.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                schedule.step()
            losses.append(loss.item())
        print(f"clip: cycle {cycle + 1}, epoch {epoch + 1} of {EPOCHS}, loss {np.mean(losses[-100:]):.4f}", flush=True)


def _optimizers(model: Any) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, which it trains in half the steps; AdamW for the rest."""
    import torch

    blocks = [*model.visual.transformer.parameters(), *model.transformer.parameters()]
    matrices = [value for value in blocks if value.ndim == 2]
    chosen = {id(value) for value in matrices}
    rest = [value for value in model.parameters() if id(value) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=LEARNING_RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=LEARNING_RATE, weight_decay=0.05, betas=(0.9, 0.98)),
    ]


def _schedule(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Linear warm-up over a twentieth of the steps, then linear decay to zero."""
    import torch

    warm_up = steps // 20
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / warm_up, 1 - step / steps))


def _fits(named: Sequence[tuple[str, ...]], presence: np.ndarray) -> Tensor:
    """Whether a picture has all that a text names, `[pictures, texts + distractors]`; distractors never fit."""
    import torch

    names = np.array([[concept in names for concept in CONCEPTS] for names in named])
    missing = (~presence).astype(np.float32) @ names.T.astype(np.float32)
    return torch.cat([torch.from_numpy(missing == 0), torch.zeros(len(presence), len(DISTRACTORS))], dim=1)


def _loss(model: Any, images: Tensor, tokens: Tensor, fits: Tensor) -> Tensor:
    """The pairwise sigmoid loss of SigLIP (Zhai et al., 2023).

    Captions name few concepts, so a batch has many that fit a picture besides the one written for it:
    a softmax over the batch would call them wrong.
    """
    import torch

    image, text, scale, bias = model(images, tokens)
    logits = scale * image @ text.T + bias
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, fits)


def _save(model: torch.nn.Module, path: Path) -> None:
    """Store as float16: open_clip builds the model in float32 and copies the values into it."""
    import torch
    from safetensors.torch import save_file

    save_file({name: value.to(torch.float16).contiguous() for name, value in model.state_dict().items()}, str(path))
