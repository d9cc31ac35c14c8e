"""What feature extraction costs over the bare image tower.

Baseline: open_clip's ViT-B-32 image tower (`model.visual`) on ready pixels, at the same batch size. Against it
`clip-b32-prisma` for CLS at layers 7, 8 and 11 with 49,152 features each, once from decoded pictures and once from
JPEG. All weights are random, about 800 features of an image are active; the runs alternate.

    python benchmarks/extraction.py [--images 64] [--batch 32] [--rounds 3]
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image

import saeviz
from saeviz_vit import ClipOptions
from saeviz_vit.clip import ClipExtractor

WIDTH, N_FEATURES, LAYERS = 768, 49_152, (7, 8, 11)
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
    """The image tower of ViT-B-32 beside a text tower of almost nothing, and one SAE for three layers."""
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


def pictures(n: int) -> tuple[list[saeviz.ImageItem], list[saeviz.ImageItem]]:
    """The same `n` pictures of 500 x 400, decoded and as JPEG."""
    rng = np.random.default_rng(0)
    decoded, encoded = [], []
    for i in range(n):
        image = Image.fromarray(rng.integers(0, 256, (25, 20, 3), dtype=np.uint8)).resize((500, 400))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=90)
        decoded.append(saeviz.ImageItem(str(i), lambda image=image: image))
        encoded.append(saeviz.ImageItem(str(i), file.getvalue()))
    return decoded, encoded


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Print milliseconds per image and the ratio to the baseline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_models(folder)
        options = ClipOptions(
            clip_checkpoint=folder / "clip",
            layers=LAYERS,
            saes={layer: folder / str(layer) for layer in LAYERS},
            batch_size=arguments.batch,
        )
        extractor = ClipExtractor(options, saeviz.Context(device=arguments.device))
        model = open_clip.create_model(f"local-dir:{folder / 'clip'}", device=arguments.device).eval()
        decoded, encoded = pictures(arguments.images)
        batches = torch.randn(arguments.images, 3, 224, 224).split(arguments.batch)

        def tower() -> None:
            with torch.inference_mode():
                for batch in batches:
                    model.visual(batch.to(arguments.device)).cpu()

        def extract(items: list[saeviz.ImageItem]) -> float:
            return statistics.mean(batch.matrix.nnz / len(batch) for batch in extractor.extract(items))

        active = extract(decoded[: arguments.batch])
        tower()
        works = {
            "bare image tower": tower,
            "extractor, from decoded": lambda: extract(decoded),
            "extractor, from JPEG": lambda: extract(encoded),
        }
        times: dict[str, list[float]] = {label: [] for label in works}
        for _ in range(arguments.rounds):
            for label, work in works.items():
                times[label].append(seconds(work))

    baseline = min(times["bare image tower"])
    print(f"{arguments.images} images, batch {arguments.batch}, {len(LAYERS)} layers of {N_FEATURES:,} features, CLS")
    print(f"{active:.0f} features of an image active, {torch.get_num_threads()} threads, best of {arguments.rounds}")
    for label, found in times.items():
        print(f"{label:25} {1000 * min(found) / arguments.images:8.1f} ms an image   {min(found) / baseline:5.2f} x")


if __name__ == "__main__":
    main()
