"""Files that are not the pictures one hopes for, through a whole run with a real extractor and a real embedder."""

from __future__ import annotations

import io
import json
import re
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import saeviz

RAMP = np.tile(np.linspace(0, 1, 48), (48, 1))
"""Dark on the left, bright on the right: whoever clips it sees white."""
PROCESSOR = {
    "image_processor_type": "BitImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": 32},
    "do_center_crop": True,
    "crop_size": {"height": 28, "width": 28},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def drawn(number: int, mode: str = "RGB") -> Image.Image:
    image = Image.new("RGB", (60, 48), (30 * number % 256, 90, 200))
    ImageDraw.Draw(image).ellipse((5 + number, 5, 40, 40), fill=(250, 30 * number % 256, 10))
    return image.convert(mode)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def ramp(dtype, largest) -> Image.Image:
    return Image.fromarray((RAMP * largest).astype(dtype))


def bomb(side: int = 20_000) -> bytes:
    """A PNG of 400 million pixels in a megabyte or less."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    size = side.to_bytes(4, "big")
    pixels = zlib.compress(bytes(side * (side // 8 + 1)), 9)
    header = chunk(b"IHDR", size + size + bytes([1, 0, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


FRAMES = [drawn(number) for number in range(3)]
GOOD = {
    **{f"plain {number}.jpg": encoded(drawn(number), "jpeg") for number in range(3)},
    "sixteen bits.png": encoded(ramp(np.uint16, 65535), "png"),
    "sixteen bits.tif": encoded(ramp(np.uint16, 65535), "tiff"),
    "floats.tif": encoded(ramp(np.float32, 1.0), "tiff"),
    "eight bits.png": encoded(ramp(np.uint8, 255), "png"),
    "cmyk.jpg": encoded(drawn(1, "CMYK"), "jpeg"),
    "palette.png": encoded(drawn(1, "P"), "png", transparency=0),
    "grey and transparent.png": encoded(drawn(1, "LA"), "png"),
    "one bit.png": encoded(drawn(1, "1"), "png"),
    "animated.gif": encoded(FRAMES[0], "gif", save_all=True, append_images=FRAMES[1:]),
    "animated.webp": encoded(FRAMES[0], "webp", save_all=True, append_images=FRAMES[1:], lossless=True),
    "animated.png": encoded(FRAMES[0], "png", save_all=True, append_images=FRAMES[1:]),
    "first frame.png": encoded(FRAMES[0], "png"),
    "one pixel.png": encoded(Image.new("RGB", (1, 1), "red"), "png"),
    "really a png.jpg": encoded(drawn(2), "png"),
    "\u732b und \u00e4.png": encoded(drawn(2), "png"),
}
BAD = {
    "zero bytes.jpg": (b"", "not in a supported image format"),
    "text.png": (b"<html>404</html>", "not in a supported image format"),
    "truncated.jpg": (GOOD["plain 0.jpg"][:-300], "truncated"),
    "truncated.png": (GOOD["eight bits.png"][:-60], "cannot be read"),
    "header only.webp": (GOOD["animated.webp"][:40], "cannot be read"),
    "bomb.png": (bomb(), "decompression bomb"),
    "long.png": (encoded(Image.new("L", (1, 20_000)), "png"), "1 x 20000.* too long and narrow"),
    "wide.gif": (encoded(Image.new("L", (20_000, 1)), "gif"), "20000 x 1.* too long and narrow"),
    "a format not read here.bmp": (encoded(drawn(0), "DDS"), "not in a supported image format"),
}


@pytest.fixture(scope="module")
def dinov2_folder(tmp_path_factory) -> Path:
    import torch
    from transformers import Dinov2Config, Dinov2Model

    folder = tmp_path_factory.mktemp("dinov2") / "tiny"
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    Dinov2Model(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


@pytest.fixture(params=["clip", "vit"])
def run_file(request, tmp_path, make, clip_folder, vit_folder, dinov2_folder) -> Path:
    """A run over the folder `pictures` with a tiny model; its directory is `runs/run`."""
    sae = make.sae(tmp_path / "sae")
    extractor = {
        "clip": f'use = "clip-b32-prisma"\nclip_checkpoint = "{clip_folder}"\nlayers = [1]\nbatch_size = 4',
        "vit": f'use = "vit-sae"\nmodel = "{vit_folder}"\nbatch_size = 4',
    }[request.param]
    path = tmp_path / "run.toml"
    path.write_text(f"""
[run]
dir = "runs/run"
device = "cpu"
offline = true
[images]
path = "pictures"
[extractor]
{extractor}
[extractor.saes]
1 = "{sae}"
[embeddings]
use = "dinov2"
model = "{dinov2_folder}"
[labeler]
use = "none"
""")
    (tmp_path / "pictures").mkdir()
    return path


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def rows_of(run: saeviz.Run) -> dict[str, np.ndarray]:
    batch = run.features("layer1.cls")
    return dict(zip(batch.item_ids, batch.matrix.toarray(), strict=True))


def embedding_of(run: saeviz.Run, name: str) -> np.ndarray:
    from saeviz.formats.embeddings import EmbeddingFiles

    item = next(item for item in run.items if item.item_id == name)
    return EmbeddingFiles(run.dir / "embeddings").read([item])[0]


def test_what_cannot_be_used_is_listed_and_the_rest_is_exact(run_file, saeviz_command):
    pictures = run_file.parent / "pictures"
    put(pictures, GOOD | {name: content for name, (content, _) in BAD.items()})
    outcome = saeviz_command("run", run_file)
    assert outcome.code == saeviz.ExitCode.PARTIAL, outcome
    run = saeviz.open_run(run_file.parent / "runs" / "run")
    errors = {failure.subject: failure.error for failure in run.failures}
    assert sorted(errors) == sorted(BAD)
    for name, (_, reason) in BAD.items():
        assert re.search(reason, errors[name]), (name, errors[name])
        assert name in errors[name]
    assert sorted(item.item_id for item in run.items) == sorted(GOOD)
    rows = rows_of(run)
    assert sorted(rows) == sorted(GOOD)
    for deep in ("sixteen bits.png", "sixteen bits.tif", "floats.tif"):
        np.testing.assert_allclose(rows[deep], rows["eight bits.png"], atol=0.05)
        np.testing.assert_allclose(embedding_of(run, deep), embedding_of(run, "eight bits.png"), atol=0.05)
    for animated in ("animated.webp", "animated.png"):
        np.testing.assert_array_equal(rows[animated], rows["first frame.png"])
    again = saeviz_command("run", run_file)
    assert again.code == saeviz.ExitCode.PARTIAL, "it is tried again, and listed once"
    assert len(saeviz.open_run(run.dir).failures) == len(BAD)
    put(pictures, dict.fromkeys(BAD, GOOD["plain 1.jpg"]))
    repaired = saeviz_command("run", run_file)
    assert repaired.code == saeviz.ExitCode.DONE, repaired
    assert saeviz.open_run(run.dir).failures == []


def test_pictures_that_vanish_while_the_run_is_on_are_listed(run_file, saeviz_command, monkeypatch):
    """Some are gone, and a whole folder is, between the listing and the reading."""
    from saeviz_folder.provider import FolderImages

    pictures = run_file.parent / "pictures"
    put(pictures, {name: content for name, content in GOOD.items() if name.startswith(("plain", "animated"))})
    put(pictures, {f"later/{number}.png": encoded(drawn(number), "png") for number in range(3)})
    listed = FolderImages.iter_images

    def then_gone(self, *arguments, **options):
        items = list(listed(self, *arguments, **options))
        (pictures / "plain 1.jpg").unlink(missing_ok=True)
        if (pictures / "later").exists():
            shutil.move(pictures / "later", run_file.parent / "elsewhere")
        return iter(items)

    monkeypatch.setattr(FolderImages, "iter_images", then_gone)
    outcome = saeviz_command("run", run_file)
    assert outcome.code == saeviz.ExitCode.PARTIAL, outcome
    run = saeviz.open_run(run_file.parent / "runs" / "run")
    gone = ["later/0.png", "later/1.png", "later/2.png", "plain 1.jpg"]
    assert [failure.subject for failure in run.failures] == gone
    assert all("No such file" in failure.error for failure in run.failures)
    monkeypatch.undo()
    shutil.move(run_file.parent / "elsewhere", pictures / "later")
    assert saeviz_command("run", run_file).code == saeviz.ExitCode.DONE
    assert len(saeviz.open_run(run.dir).items) == len(list(pictures.rglob("*.*")))


def test_nothing_but_files_that_vanish(run_file, saeviz_command, monkeypatch):
    from saeviz_folder.provider import FolderImages

    pictures = run_file.parent / "pictures"
    put(pictures, {"plain.jpg": GOOD["plain 0.jpg"]})
    listed = FolderImages.iter_images

    def then_gone(self, *arguments, **options):
        items = list(listed(self, *arguments, **options))
        shutil.rmtree(pictures)
        return iter(items)

    monkeypatch.setattr(FolderImages, "iter_images", then_gone)
    outcome = saeviz_command("run", run_file)
    assert outcome.code == saeviz.ExitCode.FAILED
    assert "none of the 1 images could be used" in outcome.err


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (3, 301)])
def test_an_embedder_refuses_what_resizing_would_blow_up(dinov2_folder, size):
    failed = []
    context = saeviz.Context(device="cpu", offline=True, failed=lambda subject, error: failed.append((subject, error)))
    embedder = saeviz.component("embeddings", "dinov2", context=context, model=str(dinov2_folder))
    items = [saeviz.ImageItem("long", lambda: Image.new("RGB", size)), saeviz.ImageItem("plain", lambda: drawn(1))]
    rows = embedder.embed(items)
    assert np.isnan(rows[0]).all()
    assert np.isfinite(rows[1]).all()
    assert [(subject, "too long and narrow" in error) for subject, error in failed] == [("long", True)]
