"""The cost of feature extraction compared with the bare image tower, and what each option saves.

Baseline is open_clip's ViT-B-32 image tower (`model.visual`, torch, float32) on ready pixels, at the same batch size.
Against it stands `clip-b32-prisma` for CLS at layers 7, 8 and 11 with 49,152 features each, from pictures of 640 x 480.
All weights are random, about 800 features of an image are active. In every round all of them run once, one after
another; printed are the median time and the median of the ratios within a round. With `--cpu-time` the time of all
threads is added up, which other work on the machine disturbs less; give it a single thread.

    python benchmarks/extraction.py [--images 64] [--batch 32] [--rounds 7] [--patches]
    OMP_NUM_THREADS=1 python benchmarks/extraction.py --cpu-time
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image

import saeviz
from saeviz_vit import ClipOptions
from saeviz_vit.clip import ClipExtractor

WIDTH, N_FEATURES, LAYERS = 768, 49_152, (7, 8, 11)
SIZE = (640, 480)
CLIP = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": WIDTH, "patch_size": 32},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 64, "heads": 1, "layers": 1},
}
SAE = {
    "model_name": "clip",
    "layer_subtype": "hook_resid_post",
    "d_in": WIDTH,
    "d_sae": N_FEATURES,
    "activation_fn_str": "relu",
    "normalize_activations": "layer_norm",
    "cls_token_only": False,
    "use_patches_only": False,
}
THRESHOLD = 2.14
"""One in 62 values of a standard normal is larger."""


def write_models(folder: Path) -> None:
    """The image tower of ViT-B-32 with a minimal text tower, and one SAE for all layers."""
    torch.manual_seed(0)
    (folder / "clip").mkdir()
    (folder / "clip" / "open_clip_config.json").write_text(json.dumps({"model_cfg": CLIP, "preprocess_cfg": {}}))
    torch.save(open_clip.CLIP(**copy.deepcopy(CLIP)).state_dict(), folder / "clip" / "open_clip_pytorch_model.bin")
    weights = {
        "W_enc": torch.randn(WIDTH, N_FEATURES) / WIDTH**0.5,
        "b_enc": torch.full((N_FEATURES,), -THRESHOLD),
        "W_dec": torch.randn(N_FEATURES, WIDTH),
        "b_dec": torch.zeros(WIDTH),
    }
    torch.save(weights, folder / "weights.pt")
    for layer in LAYERS:
        (folder / str(layer)).mkdir()
        (folder / str(layer) / "config.json").write_text(json.dumps({**SAE, "hook_point_layer": layer}))
        (folder / str(layer) / "weights.pt").symlink_to(folder / "weights.pt")


def extractor(folder: Path, device: str, **options: object) -> ClipExtractor:
    """The extractor under test, on the models in `folder`."""
    chosen = {"layers": LAYERS, **options}
    saes = {layer: folder / str(layer) for layer in chosen["layers"]}
    return ClipExtractor(
        ClipOptions(clip_checkpoint=folder / "clip", saes=saes, **chosen), saeviz.Context(device=device)
    )


def pictures(n: int) -> tuple[list[saeviz.ImageItem], list[saeviz.ImageItem]]:
    """The same `n` pictures, decoded and as JPEG, with detail at every scale like photographs."""
    rng = np.random.default_rng(0)
    decoded, encoded = [], []
    for i in range(n):
        octaves = [Image.fromarray(rng.integers(0, 256, (3 * k, 4 * k, 3), dtype=np.uint8)) for k in (2, 8, 32, 160)]
        image = octaves[0].resize(SIZE, Image.Resampling.BICUBIC)
        for k, octave in enumerate(octaves[1:]):
            image = Image.blend(image, octave.resize(SIZE, Image.Resampling.BICUBIC), 0.4 / (k + 1))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=90)
        decoded.append(saeviz.ImageItem(str(i), lambda image=image: image))
        encoded.append(saeviz.ImageItem(str(i), file.getvalue()))
    return decoded, encoded


def interleaved(
    works: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds per round for each kind of work; they alternate, so that disturbances affect all of them."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = clock()
            work()
            times[name].append(clock() - start)
    return times


def ratio(times: Mapping[str, list[float]], name: str, baseline: str) -> float:
    """The median over rounds of `name` against `baseline`."""
    return statistics.median(mine / other for mine, other in zip(times[name], times[baseline], strict=True))


CPU_TIME = "measure processor time instead of wall-clock time"
TOWER = "bare image tower, torch"
OPENVINO = "openvino"
TORCH = "torch"
JPEG = "openvino, from JPEG"
LAYER_7, LAYER_11 = "openvino, layer 7 alone", "openvino, layer 11 alone"
BFLOAT16 = "openvino, bfloat16"
TARGETS = [
    (OPENVINO, TOWER, 0.50),
    (TORCH, TOWER, 1.10),
    (JPEG, OPENVINO, 1.35),
    (LAYER_7, LAYER_11, 0.72),
    (BFLOAT16, OPENVINO, 1 / 1.7),
]


def main() -> None:
    """Print milliseconds per image and ratios to the bare tower."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--patches", action="store_true", help="also patch-max and patch-mean of all three layers")
    parser.add_argument("--cpu-time", action="store_true", help=CPU_TIME)
    arguments = parser.parse_args()
    logging.disable()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_models(folder)
        build = partial(extractor, folder, "cpu", batch_size=arguments.batch)
        decoded, encoded = pictures(arguments.images)
        pixels = torch.randn(arguments.images, 3, 224, 224).split(arguments.batch)
        model = open_clip.create_model(f"local-dir:{folder / 'clip'}").visual.eval()

        def tower() -> None:
            with torch.inference_mode():
                for batch in pixels:
                    model(batch)

        def extract(made: ClipExtractor, items: list[saeviz.ImageItem]) -> float:
            return statistics.mean(batch.matrix.nnz / len(batch) for batch in made.extract(items))

        default = build(engine="openvino")
        works: dict[str, Callable[[], object]] = {
            TOWER: tower,
            OPENVINO: partial(extract, default, decoded),
            TORCH: partial(extract, build(engine="torch"), decoded),
            JPEG: partial(extract, default, encoded),
            LAYER_7: partial(extract, build(engine="openvino", layers=(7,)), decoded),
            LAYER_11: partial(extract, build(engine="openvino", layers=(11,)), decoded),
            BFLOAT16: partial(extract, build(engine="openvino", precision="bfloat16"), decoded),
        }
        if arguments.patches:
            for tokens in ("patch-max", "patch-mean"):
                works[f"openvino, {tokens}"] = partial(extract, build(engine="openvino", tokens=(tokens,)), decoded)
        active = [work() for work in works.values()][1]
        times = interleaved(works, arguments.rounds, time.process_time if arguments.cpu_time else time.perf_counter)

    print(f"{arguments.images} images, batch {arguments.batch}, CLS at layers {LAYERS} of {N_FEATURES:,} features each")
    print(f"{active:.0f} features of an image active, {torch.get_num_threads()} threads, median of {arguments.rounds}")
    for label, found in times.items():
        print(f"  {label:26} {1000 * statistics.median(found) / arguments.images:7.1f} ms an image")
    for label, baseline, target in TARGETS:
        print(f"{label} / {baseline}: {ratio(times, label, baseline):.2f} (at most {target:.2f})")


if __name__ == "__main__":
    main()
