"""The same picture under two ids is said."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import saeviz
from tests.conftest import WITHOUT_MODELS

FAKES = [*WITHOUT_MODELS, "--until", "extract"]


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Five different pictures of one size: bitmaps, whose files are equally long."""
    folder = tmp_path / "pics"
    folder.mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 255, (160, 160, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.bmp")
    return folder


def said(pictures: Path, saeviz_command) -> list[str]:
    done = saeviz_command("run", "--images", pictures, *FAKES, "--set", f"run.dir={pictures.parent / 'run'}")
    assert done.code in (saeviz.ExitCode.DONE, saeviz.ExitCode.PARTIAL), done
    return [line for line in done.err.splitlines() if "byte for byte" in line]


def test_nothing_is_said_where_every_picture_is_there_once(pictures, saeviz_command):
    image = Image.open(pictures / "0.bmp")
    image.putpixel((159, 0), (0, 0, 0))
    image.save(pictures / "one pixel differs.bmp")
    assert said(pictures, saeviz_command) == []


def test_one_warning_counts_them_and_gives_examples(pictures, saeviz_command):
    for number in (0, 1, 2, 3):
        (pictures / f"copy of {number}.bmp").write_bytes((pictures / f"{number}.bmp").read_bytes())
    (pictures / "again.bmp").write_bytes((pictures / "0.bmp").read_bytes())
    os.mkfifo(pictures.parent / "pipe")
    (pictures / "pipe.bmp").symlink_to(pictures.parent / "pipe")
    (line,) = said(pictures, saeviz_command)
    assert "5 images are byte for byte identical to an image with another id" in line
    assert "'0.bmp' = 'again.bmp' = 'copy of 0.bmp'; '1.bmp' = 'copy of 1.bmp'; '2.bmp' = 'copy of 2.bmp'; ..." in line
    assert said(pictures, saeviz_command) == [], "nothing is extracted any more"
