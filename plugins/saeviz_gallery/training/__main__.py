"""`python -m saeviz_gallery.training`: see README.md in this folder."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from saeviz_gallery.training.captions import VOCABULARY
from saeviz_gallery.training.clip import train_clip
from saeviz_gallery.training.embedder import train_embedder
from saeviz_gallery.training.measure import measure
from saeviz_gallery.training.pictures import Pictures, read_pictures, training_pictures
from saeviz_gallery.training.sae import LAYERS, train_saes

Rendering = Callable[[str], Pictures]
DEMO = Path(__file__).parents[1] / "demo"


def main() -> None:
    """Run the named steps in their fixed order, by default all."""
    parser = argparse.ArgumentParser(prog="python -m saeviz_gallery.training", description="Train the demo's models.")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}; default: all")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "saeviz-gallery-training")
    parser.add_argument("--out", type=Path, default=DEMO, help="folder for the weights; default: that of the package")
    parser.add_argument("--pictures", type=int, default=27_000, help="pictures to train on; default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch; more than free cores is much slower")
    arguments = parser.parse_args()
    unknown = [step for step in arguments.steps if step not in STEPS]
    if unknown:
        parser.error(f"{unknown[0]!r} is not one of {', '.join(STEPS)}")
    _use_threads(arguments.threads)
    for name, step in STEPS.items():
        if name in (arguments.steps or STEPS):
            step(partial(_rendering, arguments.cache, arguments.pictures), arguments.out)


def _rendering(cache: Path, count: int, name: str) -> Pictures:
    return read_pictures(training_pictures(cache, count), name)


def _clip(rendering: Rendering, out: Path) -> None:
    train_clip(rendering("clip"), out / "clip")
    (out / "vocabulary.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")


def _saes(rendering: Rendering, out: Path) -> None:
    train_saes(rendering("clip"), out / "clip", {layer: out / f"sae-layer{layer}" for layer in LAYERS})


def _embedder(rendering: Rendering, out: Path) -> None:
    train_embedder(rendering("embedder"), rendering("embedder-redrawn"), out / "embedder")


def _measure(_rendering: Rendering, out: Path) -> None:
    measure(out)


STEPS: dict[str, Callable[[Rendering, Path], None]] = {
    "clip": _clip,
    "saes": _saes,
    "embedder": _embedder,
    "measure": _measure,
}


def _use_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)


if __name__ == "__main__":
    main()
