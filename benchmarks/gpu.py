"""Images per second on a GPU, and what share of its peak speed that is.

`clip-b32-prisma` for CLS at layers 7, 8 and 11 with 49,152 features each, and embeddings by a model of DINOv2-base's
shape; all weights are random. From JPEG of 640 x 480, and from small decoded pictures that cost the CPU almost nothing:
where the two differ, the CPU is what limits. The peak is measured, too: a product of two large square matrices.

    python benchmarks/gpu.py [--device cuda] [--images 4096] [--batch 256] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice, repeat
from pathlib import Path

import numpy as np
import torch
from extraction import extractor, interleaved, pictures, write_models
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

import saeviz

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SMALL = "small, decoded"
Work = Callable[[Sequence[saeviz.ImageItem]], object]
PROCESSOR = {
    "image_processor_type": "BitImageProcessor",
    "size": {"shortest_edge": 256},
    "crop_size": {"height": 224, "width": 224},
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


def write_dinov2(folder: Path) -> Path:
    """A model of the shape of DINOv2-base."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    Dinov2Model(Dinov2Config(hidden_size=768, patch_size=14, image_size=518)).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


def peak(device: torch.device, precision: str, size: int = 8192) -> float:
    """Operations per second of a product of two square matrices, the best of several."""
    size = size if device.type != "cpu" else 2048
    a, b = (torch.randn(size, size, device=device, dtype=PRECISIONS[precision]) for _ in range(2))

    def multiply() -> None:
        (a @ b).sum().item()

    seconds = interleaved({"multiply": multiply}, 10)["multiply"]
    return 2 * size**3 / min(seconds)


def many(items: Sequence[saeviz.ImageItem], n: int) -> list[saeviz.ImageItem]:
    """`n` items with different ids that share a few sources."""
    sources = (item.source for copy in repeat(items) for item in copy)
    return [saeviz.ImageItem(str(i), source) for i, source in enumerate(islice(sources, n))]


def operations(work: Work, items: Sequence[saeviz.ImageItem]) -> float:
    """Operations per image, as torch counts them."""
    work(items[:1])
    torch.backends.mha.set_fastpath_enabled(False)  # which it does not look into
    with FlopCounterMode(display=False) as counter:
        work(items)
    torch.backends.mha.set_fastpath_enabled(True)
    return counter.get_total_flops() / len(items)


def report(label: str, work: Work, sources: Mapping[str, Sequence[saeviz.ImageItem]], rounds: int, top: float) -> None:
    """Images per second from every source, and the share of `top` operations per second."""
    cost = operations(work, sources[SMALL][:32])
    times = interleaved({kind: partial(work, items) for kind, items in sources.items()}, rounds)
    for kind, seconds in times.items():
        rate = len(sources[kind]) / statistics.median(seconds)
        print(
            f"  {label:16} {kind:15} {rate:9.1f} images/s  {rate * cost / top:6.1%} ({cost / 1e9:.1f} GFLOP an image)"
        )


def main() -> None:
    """Print images per second and the share of the peak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    logging.disable()
    device = torch.device(arguments.device)
    noise = np.random.default_rng(0).integers(0, 256, (64, 224, 224, 3), dtype=np.uint8)
    small = [saeviz.ImageItem(str(i), partial(Image.fromarray, image)) for i, image in enumerate(noise)]
    sources = {"JPEG": many(pictures(64)[1], arguments.images), SMALL: many(small, arguments.images)}

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    print(f"{name}: {arguments.images} images, batch {arguments.batch}, median of {arguments.rounds}")
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        write_models(folder)
        dinov2 = write_dinov2(folder / "dinov2")
        for precision in PRECISIONS:
            shared = {"batch_size": arguments.batch, "engine": "torch"}
            made = extractor(folder, arguments.device, precision=precision, **shared)
            context = saeviz.Context(device=arguments.device, precision=precision, offline=True)
            embedder = saeviz.component("embeddings", "dinov2", context=context, model=str(dinov2), **shared)
            top = peak(device, precision)
            print(f"{precision}: shares are of {top / 1e12:.1f} TFLOP/s, at which a large product runs")
            report(
                "CLS at 3 layers",
                lambda items, made=made: deque(made.extract(items), 0),
                sources,
                arguments.rounds,
                top,
            )
            report("DINOv2", embedder.embed, sources, arguments.rounds, top)


if __name__ == "__main__":
    main()
