"""What is opened as a picture: which files, how they are turned, what a broken one costs."""

from __future__ import annotations

import json
import os
import socket
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import saeviz
from saeviz.toolkit.images import open_picture, picture_file, size_of, to_rgb
from saeviz.toolkit.sources import FileSource
from saeviz.toolkit.vlm.pictures import open_picture as shown_to_a_labeler
from tests.conftest import WITHOUT_MODELS

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) print\n%%EOF\n"
BROKEN_EXIF = b"Exif\0\0\0\x08\0\x02\x01\x12\0\x03"
LEFT_IS_RED = Image.fromarray(np.array([[[250, 0, 0], [0, 0, 250]]] * 8, np.uint8).repeat(8, axis=1))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation: int, kind: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(LEFT_IS_RED, kind, exif=exif)


def opened(source) -> Image.Image:
    return saeviz.ImageItem("x", source).open()


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(to_rgb(image), int)


# -- which files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"])
def test_formats_that_people_have_are_read_from_files_and_bytes(kind, tmp_path):
    data = encoded(LEFT_IS_RED, kind)
    path = tmp_path / "picture"
    path.write_bytes(data)
    assert opened(data).size == opened(path).size == size_of(path) == (16, 8)
    assert np.abs(pixels(opened(path)) - pixels(LEFT_IS_RED)).mean() < 30


def test_the_file_of_a_picture_is_the_same_wherever_it_is(tmp_path):
    photo = encoded(LEFT_IS_RED, "JPEG")
    (tmp_path / "photo.jpg").write_bytes(photo)
    for source in (tmp_path / "photo.jpg", photo, FileSource("x", lambda: photo)):
        item = saeviz.ImageItem("x", source)
        assert item.read_bytes() == photo == picture_file(item), "a photo is never encoded a second time"
        with pytest.raises(saeviz.ImageError, match="image 'x' cannot be read: it has more than 0 MiB"):
            picture_file(item, most=100)


def test_a_drawn_picture_has_no_file_and_is_sent_as_png():
    item = saeviz.ImageItem("x", lambda: Image.new("CMYK", (8, 8), (0, 255, 255, 0)))
    assert item.read_bytes() is None
    assert opened(picture_file(item)).getpixel((0, 0)) == (255, 0, 0)


def test_the_file_of_what_is_no_picture_is_not_sent(tmp_path):
    (tmp_path / "key.png").write_text("secret")
    for source in (
        tmp_path / "key.png",
        b"secret",
        tmp_path / "gone.png",
        tmp_path,
        FileSource("x", lambda: b"secret"),
    ):
        with pytest.raises(saeviz.ImageError, match="image 'x' cannot be read"):
            picture_file(saeviz.ImageItem("x", source))


@pytest.mark.parametrize("kind", ["EPS", "PDF", "ICO", "TGA", "DDS"])
def test_other_formats_of_pillow_are_not_even_tried(kind):
    with pytest.raises(saeviz.ImageError, match=r"image 'x' cannot be read: .* supported image format .*JPEG"):
        opened(encoded(LEFT_IS_RED, kind))


def test_postscript_starts_no_program(monkeypatch, tmp_path):
    """Ghostscript would be searched for on the path and run."""
    marker = tmp_path / "started"
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {marker}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(POSTSCRIPT)
    assert size_of(photo) is None
    for source in (photo, POSTSCRIPT):
        with pytest.raises(saeviz.ImageError, match="not in a supported image format"):
            opened(source)
    assert not marker.exists()


def named(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            os.chdir(folder)  # the path of a socket may not be long
            server.bind(path.name)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.symlink_to("/dev/zero")
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("pipe", "it is a pipe, not a file"),
        ("socket", "it is a socket, not a file"),
        ("device", "it is a device, not a file"),
        ("folder", "Is a directory"),
        ("loop", "symbolic links"),
    ],
)
def test_what_is_no_regular_file_costs_its_picture(kind, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = named(kind, tmp_path)
    with pytest.raises(saeviz.ImageError, match=f"image 'x' .*cannot be read: .*{reason}"):
        opened(path)
    assert size_of(path) is None


# -- upright -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_broken_exif_block_costs_the_orientation_only(kind):
    assert opened(encoded(LEFT_IS_RED, kind, exif=BROKEN_EXIF)).size == (16, 8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_what_pillow_makes_of_it(orientation, kind):
    data = turned(orientation, kind)
    expected = ImageOps.exif_transpose(Image.open(BytesIO(data)))
    for source in (data, lambda: Image.open(BytesIO(data)), lambda: Image.open(BytesIO(data)).convert("RGB")):
        assert np.array_equal(pixels(opened(source)), pixels(expected))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_there_is_not_turns_nothing(orientation):
    assert opened(turned(orientation)).size == (16, 8)


def test_a_picture_is_turned_once(tmp_path):
    once = opened(turned(6))
    assert once.size == (8, 16)
    assert np.array_equal(pixels(opened(lambda: once)), pixels(once))


# -- drawn by a function -------------------------------------------------------------------------------------------


class OfTheirOwnError(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [OfTheirOwnError("no"), KeyError("no"), RuntimeError("no"), MemoryError("no"), SystemExit("no"), AssertionError()],
    ids=repr,
)
def test_whatever_a_function_raises_costs_its_picture(error):
    def draw():
        raise error

    with pytest.raises(saeviz.ImageError, match="image 'x' cannot be read: "):
        opened(draw)


@pytest.mark.parametrize(
    "given", [None, "a.jpg", np.zeros((4, 4, 3), np.uint8)], ids=lambda given: type(given).__name__
)
def test_a_function_that_gives_no_picture(given):
    with pytest.raises(saeviz.ImageError, match=r"returned .*not a picture"):
        opened(lambda: given)


def test_a_function_may_give_a_file_that_is_cut_off():
    data = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)), "JPEG")[:-300]
    with pytest.raises(saeviz.ImageError, match="truncated"):
        opened(lambda: Image.open(BytesIO(data)))


def test_what_saeviz_itself_raises_is_not_about_one_picture():
    def draw():
        raise saeviz.ConfigError("the service refuses the key")

    with pytest.raises(saeviz.ConfigError, match="refuses the key"):
        opened(draw)


# -- transparent ---------------------------------------------------------------------------------------------------


def test_a_cut_out_shows_white_to_a_labeler():
    item = saeviz.ImageItem("x", lambda: Image.new("RGBA", (8, 8), (200, 0, 0, 0)))
    assert shown_to_a_labeler(item).getextrema() == ((255, 255),) * 3


def test_it_is_opened_in_its_own_mode():
    assert open_picture(encoded(Image.new("RGBA", (4, 4), (1, 2, 3, 0)), "PNG")).mode == "RGBA"


# -- in a run ------------------------------------------------------------------------------------------------------


def test_a_run_leaves_out_what_is_no_picture_and_does_not_wait(tmp_path, saeviz_command):
    pictures = tmp_path / "pics"
    pictures.mkdir()
    for number in range(3):
        (pictures / f"{number}.png").write_bytes(encoded(LEFT_IS_RED.rotate(90 * number), "PNG"))
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (pictures / "round").symlink_to(pictures / "round")
    (pictures / "device.png").symlink_to("/dev/zero")
    (pictures / "photo.jpg").write_bytes(POSTSCRIPT)
    names = [
        *(f"pics/{number}.png" for number in range(3)),
        "pipe.png",
        "loop.png",
        "pics/device.png",
        "pics/photo.jpg",
    ]
    (tmp_path / "images.csv").write_text("\n".join(["file,liked", *(f"{name},{n}" for n, name in enumerate(names))]))
    until = [*WITHOUT_MODELS, "--until", "extract"]
    (tmp_path / "run.toml").write_text('[images]\nuse = "table"\npath = "images.csv"\n')
    done = saeviz_command("run", tmp_path / "run.toml", *until)
    assert done.code == saeviz.ExitCode.PARTIAL, done
    lines = (tmp_path / "runs" / "run" / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["subject"] for line in lines] == names[3:]
    done = saeviz_command("run", "--images", pictures, *until, "--set", f"run.dir={tmp_path / 'other'}")
    assert done.code == saeviz.ExitCode.PARTIAL, done
    assert "Traceback" not in done.err


def test_a_loop_of_links_is_said_wherever_a_path_is_named(tmp_path, saeviz_command):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    run_file = tmp_path / "run.toml"
    run_file.write_text(f'[images]\npath = "{tmp_path}"\nratings = "loop/ratings.csv"\n')
    runs = [["run", loop], ["run", "--images", loop], ["check", run_file]]
    for words in (*([*words, *WITHOUT_MODELS] for words in runs), ["show", loop], ["serve", loop]):
        done = saeviz_command(*words)
        assert done.code not in (saeviz.ExitCode.DONE, saeviz.ExitCode.PARTIAL), words
        assert "Traceback" not in done.err
        assert "loop" in done.err
