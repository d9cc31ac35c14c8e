"""Runs whose names are judged, by a labeler of the test's own."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import FAKE_RUN, FAKES


def write_run(folder: Path, labeler: str) -> Path:
    """A run file over 90 pictures that are named and judged by the labeler `words` of this code."""
    (folder / "words.py").write_text(labeler)
    text = (
        FAKE_RUN.replace('use = "fake-labeler"', 'use = "words"')
        .replace("n = 24", "n = 90")
        .replace('use = "fake-extractor"', 'use = "fake-extractor"\nbatch_size = 30')
        .replace(f'use = ["{FAKES}"]', f'use = ["{FAKES}", "./words.py"]')
    )
    path = folder / "fake.toml"
    path.write_text(f'[run]\ntop_images = 6\n[judge]\nuse = "labeler"\n{text}\n[selector]\nlimit = 12\n')
    return path
