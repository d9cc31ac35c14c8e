"""Every step of extraction on the CPU, compared with the least time that the machine could need.

The machine's limits are measured first: operations a second of a large float32 product (the better of torch and
OpenVINO) and bytes a second of reading and of copying. A step's floor is its operations or its bytes at that rate,
whichever takes longer. ViT-B-32 with random weights, three SAEs of 49,152 features, float32.

    python benchmarks/steps.py [--batch 32] [--rounds 9]
    OMP_NUM_THREADS=1 python benchmarks/steps.py --cpu-time
"""

from __future__ import annotations

import argparse
import io
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import open_clip
import torch
from extraction import CLIP, CPU_TIME, LAYERS, N_FEATURES, THRESHOLD, WIDTH, interleaved, pictures
from PIL import Image

import saeviz
from saeviz.toolkit.engine import Runner
from saeviz.toolkit.sae import SAE, SAEConfig, SAEWeights
from saeviz.toolkit.tokens import HookPoint
from saeviz.toolkit.tokens.pixels import ByTable
from saeviz.toolkit.tokens.pooling import CACHED_TOKENS, pool_patches, to_csr
from saeviz_vit.openclip import class_tokens_at

PATCHES, BLOCKS = 49, 12
CPU = saeviz.Context(device="cpu")


class Step(NamedTuple):
    """`work` for `images` images, with its number of operations and the bytes that it must read or write."""

    work: Callable[[], object]
    images: int
    operations: float = 0
    bytes_read: float = 0


def tower_operations() -> float:
    """Of one image: patches, all blocks, of the last one only what the class token needs."""
    tokens, linear = PATCHES + 1, 2 * 12 * WIDTH**2
    block = tokens * linear + 4 * tokens**2 * WIDTH
    last = tokens * 2 * 2 * WIDTH**2 + (linear - 2 * 2 * WIDTH**2) + 4 * tokens * WIDTH
    return PATCHES * 2 * WIDTH * 3 * 32**2 + (BLOCKS - 1) * block + last


def make_sae() -> SAE:
    """Random weights; about 800 features are active."""
    config = SAEConfig(
        model_name="", layer=0, hook="", d_in=WIDTH, d_sae=N_FEATURES, trained_on="all", normalization=None, k=None
    )
    weights = SAEWeights(
        W_enc=torch.randn(WIDTH, N_FEATURES) / WIDTH**0.5,
        b_enc=torch.full((N_FEATURES,), -THRESHOLD),
        W_dec=torch.zeros(N_FEATURES, WIDTH),
        b_dec=torch.zeros(WIDTH),
    )
    return SAE(config, weights, formula="published", device=torch.device("cpu"))


def on(engine: str, module: torch.nn.Module, forward: Callable[..., object], batch: torch.Tensor) -> Runner:
    """A runner that has seen its first batch."""
    runner = Runner(module, forward, choice=engine, option="engine", context=CPU)
    runner(batch)
    return runner


def limits(rounds: int, clock: Callable[[], float]) -> tuple[float, float]:
    """Operations a second of a large product, bytes a second of reading."""
    a, b, much = torch.randn(1600, WIDTH), torch.randn(4 * WIDTH, WIDTH), torch.randn(2**26)
    other = on("openvino", torch.nn.Module(), lambda _, x: [x @ b.T], a)
    works = {"torch": lambda: a @ b.T, "openvino": lambda: other(a), "read": much.sum}
    best = {name: min(seconds) for name, seconds in interleaved(works, 3 * rounds, clock).items()}
    return 2 * a.numel() * len(b) / min(best["torch"], best["openvino"]), much.nbytes / best["read"]


def steps(batch: int, folder: Path) -> dict[str, Step]:
    """All of them, ready to run."""
    decoded, encoded = pictures(batch)
    images = [item.open() for item in decoded]
    transform = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(size=224), is_train=False)
    *shape, to_numbers, normalize = transform.transforms
    ours = open_clip.transform.Compose([*shape, ByTable([to_numbers, normalize])])
    visual = open_clip.CLIP(**CLIP).visual.eval().requires_grad_(False)
    pixels, x = torch.randn(batch, 3, 224, 224), torch.randn(batch, WIDTH)
    n = CACHED_TOKENS * torch.get_num_threads() // PATCHES
    patches, sae = torch.randn(n, PATCHES, WIDTH), make_sae()
    dense = sae.encode(x)
    encode = 2 * WIDTH * N_FEATURES
    tower = partial(class_tokens_at, points=[HookPoint(layer) for layer in LAYERS])
    found = {
        "decode JPEG 640 x 480": Step(lambda: [Image.open(io.BytesIO(item.source)).load() for item in encoded], batch),
        "open_clip's transform": Step(lambda: [transform(image) for image in images], batch),
        "the same by table": Step(lambda: [ours(image) for image in images], batch),
    }
    weights = torch.randn(N_FEATURES, WIDTH)
    all_patches = n * PATCHES * encode
    found |= {
        "patches, the bare product": Step(lambda: patches.flatten(0, 1) @ weights.T, n, all_patches),
        "patches, all features, then pooled": Step(
            lambda: [pool(dim=1) for features in [sae.encode(patches)] for pool in (features.amax, features.mean)],
            n,
            all_patches,
        ),
    }
    for engine in ("torch", "openvino"):
        none = torch.nn.Module()
        model = on(engine, visual, tower, pixels)
        cls = on(engine, none, lambda _, x: [sae.encode(x)], x)
        pooled = on(engine, none, lambda _, x: pool_patches(sae, ["patch-max", "patch-mean"], x), patches)
        found |= {
            f"image tower, {engine}": Step(partial(model, pixels), batch, batch * tower_operations()),
            f"one SAE on CLS, {engine}": Step(partial(cls, x), batch, batch * encode, 4 * WIDTH * N_FEATURES),
            f"one SAE, patches pooled, {engine}": Step(partial(pooled, patches), n, all_patches),
        }
    found["dense to sparse"] = Step(lambda: to_csr(dense), batch, 0, dense.nbytes)
    store = saeviz.component("store", "npz", context=saeviz.Context(workdir=folder))
    rows = saeviz.FeatureBatch(saeviz.FeatureSpace(7, "cls", N_FEATURES), tuple(map(str, range(batch))), to_csr(dense))
    found["write to npz"] = Step(lambda: store.write(rows), batch)
    return found


def main() -> None:
    """Print a table in Markdown, with times in milliseconds per image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cpu-time", action="store_true", help=CPU_TIME)
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    logging.disable()
    torch.manual_seed(0)
    per_second, bytes_per_second = limits(arguments.rounds, clock)
    print(f"{torch.get_num_threads()} threads, batch {arguments.batch}", end=": ")
    print(f"a product runs at {per_second / 1e9:.0f} GFLOP/s, memory is read at {bytes_per_second / 1e9:.1f} GB/s\n")
    with tempfile.TemporaryDirectory() as name:
        found = steps(arguments.batch, Path(name))
        times = interleaved({label: step.work for label, step in found.items()}, arguments.rounds, clock)
    print("| step | GFLOP | MB | floor, ms | measured, ms | x |")
    print("|---|---|---|---|---|---|")
    for label, step in found.items():
        measured = 1000 * statistics.median(times[label]) / step.images
        floor = 1000 * max(step.operations / per_second, step.bytes_read / bytes_per_second) / step.images
        gap = f"{floor:.2f} | {measured:.2f} | {measured / floor:.1f}" if floor else f"- | {measured:.2f} | -"
        done = f"{step.operations / 1e9 / step.images:.2f} | {step.bytes_read / 1e6 / step.images:.1f}"
        print(f"| {label} | {done} | {gap} |")


if __name__ == "__main__":
    main()
