"""Train sparse autoencoders on the residual stream of the miniature CLIP and write them in the Prisma format."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz_gallery.training.clip import normalised
from saeviz_gallery.training.pictures import Pictures

if TYPE_CHECKING:
    from torch import Tensor

LAYERS = (3, 4)
EXPANSION = 8
K = 16
STEPS = 2000
BATCH = 2048
CLS_SHARE = 0.5
"""The share of CLS tokens in a batch: a picture has one CLS token in 50, and runs use CLS."""
PATCHES_PER_PICTURE = 8
LEARNING_RATE = 1e-3
DEAD_AFTER = 150
"""Steps without firing after which a latent counts as dead and is revived by the auxiliary loss."""


def train_saes(pictures: Pictures, clip_folder: Path, folders: dict[int, Path]) -> None:
    """One SAE per layer, each into its folder."""
    import torch

    tokens = collect_tokens(pictures, clip_folder, list(folders))
    for layer, folder in folders.items():
        torch.manual_seed(layer)
        cls, patches = tokens[layer]
        weights = _fit(cls, patches, layer)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(weights, folder / "weights.pt")
        config = prisma_config(layer, len(pictures.pixels), weights)
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def collect_tokens(pictures: Pictures, clip_folder: Path, layers: Sequence[int]) -> dict[int, tuple[Tensor, Tensor]]:
    """Per layer the CLS tokens `[n, width]` and some patch tokens `[n * PATCHES_PER_PICTURE, width]`."""
    import open_clip
    import torch

    model: Any = open_clip.create_model(f"local-dir:{clip_folder}").eval()
    found: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    for layer in layers:
        block = model.visual.transformer.resblocks[layer]
        block.register_forward_hook(lambda _block, _inputs, output, layer=layer: found[layer].append(output))
    rng = torch.Generator().manual_seed(0)
    tokens: dict[int, tuple[list[Tensor], list[Tensor]]] = {layer: ([], []) for layer in layers}
    for start in range(0, len(pictures.pixels), 256):
        with torch.inference_mode():
            model.visual(normalised(pictures.pixels[start : start + 256]))
        for layer in layers:
            output = found[layer].pop()
            patch = 1 + torch.randperm(output.shape[1] - 1, generator=rng)[:PATCHES_PER_PICTURE]
            tokens[layer][0].append(output[:, 0])
            tokens[layer][1].append(output[:, patch].flatten(0, 1))
    return {layer: (torch.cat(cls).clone(), torch.cat(patches).clone()) for layer, (cls, patches) in tokens.items()}


def encode(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """Top-k of `(x - b_dec) @ W_enc + b_enc`, then ReLU."""
    import torch

    before = (x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    values, places = before.topk(K, dim=-1)
    return torch.zeros_like(before).scatter(-1, places, values.relu())


def _fit(cls: Tensor, patches: Tensor, layer: int) -> OrderedDict[str, Tensor]:
    """Top-k SAE with the auxiliary loss of Gao et al. (2024) against dead latents.

    It is trained on tokens of unit mean norm. The forward pass only scales with its input, so the
    biases alone are scaled back at the end and `W_dec` keeps its unit rows.
    """
    import torch

    scale = float(torch.cat([cls, patches]).norm(dim=1).mean())
    width, latents = cls.shape[1], EXPANSION * cls.shape[1]
    decoder = torch.nn.functional.normalize(torch.randn(latents, width), dim=1)
    start = {
        "W_enc": decoder.T.clone(),
        "W_dec": decoder,
        "b_enc": torch.zeros(latents),
        "b_dec": (CLS_SHARE * cls.mean(0) + (1 - CLS_SHARE) * patches.mean(0)) / scale,
    }
    weights = {name: value.requires_grad_() for name, value in start.items()}
    optimizer = torch.optim.Adam(weights.values(), lr=LEARNING_RATE)
    silent = torch.zeros(latents)
    n_cls = int(CLS_SHARE * BATCH)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, 5 * (1 - step / STEPS))
        some_cls = cls[torch.randint(len(cls), (n_cls,))]
        some_patches = patches[torch.randint(len(patches), (BATCH - n_cls,))]
        x = torch.cat([some_cls, some_patches]) / scale
        features = encode(weights, x)
        error = x - features @ weights["W_dec"] - weights["b_dec"]
        silent = torch.where((features > 0).any(0), 0, silent + 1)
        loss = error.square().sum(1).mean() + _revival(weights, x, error.detach(), silent > DEAD_AFTER) / 32
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        with torch.no_grad():
            weights["W_dec"].div_(weights["W_dec"].norm(dim=1, keepdim=True))
        if step % 500 == 499:
            dead = int((silent > DEAD_AFTER).sum())
            print(f"sae of layer {layer}: step {step + 1} of {STEPS}, loss {loss.item():.4f}, dead {dead}", flush=True)
    scales = {"W_enc": 1.0, "b_enc": scale, "W_dec": 1.0, "b_dec": scale}
    return OrderedDict((name, (weights[name].detach() * factor).clone()) for name, factor in scales.items())


def _revival(weights: dict[str, Tensor], x: Tensor, error: Tensor, dead: Tensor) -> Tensor:
    """The error of the best dead latents in explaining the residual."""
    import torch

    if int(dead.sum()) < K:
        return torch.zeros(())
    before = (x - weights["b_dec"]) @ weights["W_enc"][:, dead] + weights["b_enc"][dead]
    values, places = before.topk(K, dim=-1)
    revived = torch.zeros_like(before).scatter(-1, places, values.relu())
    return (error - revived @ weights["W_dec"][dead]).square().sum(1).mean()


def prisma_config(layer: int, n_pictures: int, weights: dict[str, Tensor]) -> dict[str, Any]:
    """The keys of a published `config.json`."""
    width, latents = weights["W_enc"].shape
    return {
        "model_class_name": "HookedViT",
        "model_name": "saeviz_gallery/demo/clip",
        "hook_point_layer": layer,
        "layer_subtype": "hook_resid_post",
        "hook_point_head_index": None,
        "context_size": 50,
        "use_cached_activations": False,
        "use_patches_only": False,
        "cached_activations_path": None,
        "d_in": width,
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": K},
        "cls_token_only": False,
        "max_grad_norm": None,
        "initialization_method": "encoder_transpose_decoder",
        "normalize_activations": None,
        "n_batches_in_buffer": 0,
        "store_batch_size": 256,
        "num_workers": 0,
        "num_epochs": 1,
        "total_training_images": n_pictures,
        "total_training_tokens": STEPS * BATCH,
        "image_size": 56,
        "device": {"__type__": "torch.device", "value": "cpu"},
        "seed": layer,
        "dtype": {"__type__": "torch.dtype", "value": "torch.float32"},
        "architecture": "standard",
        "verbose": False,
        "b_dec_init_method": "mean",
        "expansion_factor": EXPANSION,
        "from_pretrained_path": None,
        "d_sae": latents,
        "l1_coefficient": 0.0,
        "lp_norm": 1,
        "lr": LEARNING_RATE,
        "lr_scheduler_name": "linear",
        "lr_warm_up_steps": 0,
        "train_batch_size": BATCH,
        "dataset_name": "saeviz_gallery",
        "dataset_path": "",
        "dataset_train_path": "",
        "dataset_val_path": "",
        "use_ghost_grads": False,
        "feature_sampling_window": 1000,
        "dead_feature_window": DEAD_AFTER,
        "dead_feature_threshold": 1e-08,
        "log_to_wandb": False,
        "wandb_project": "",
        "wandb_entity": None,
        "wandb_log_frequency": 0,
        "n_validation_runs": 0,
        "n_checkpoints": 0,
        "checkpoint_path": "",
    }
