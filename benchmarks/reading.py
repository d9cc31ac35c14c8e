"""Looking at a run of the default size: time and peak memory of `saeviz show` and of the report.

A run is made up: six spaces of 49,152 features, three ratings, 20 top images of each feature, 300 small pictures. The
baseline is `pandas.read_parquet` of its three tables, whole, in a process of its own.

    python benchmarks/reading.py [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import saeviz
from saeviz.formats.rundir import RunDir

SPACES = [saeviz.FeatureSpace(layer, tokens, 49_152) for layer in (7, 9, 11) for tokens in ("cls", "patch-max")]
RATINGS = ("beauty", "arousal", "valence")
N_IMAGES, TOP_IMAGES, SELECTED = 300, 20, 200
PICTURES = 2000
"""Different ones; of more images some have the same picture."""
ROWS = 1000
"""Images written to the store at once."""
BASELINE = """
import sys, pandas
for name in ("scores", "correlations", "top_images"):
    pandas.read_parquet(f"{sys.argv[1]}/{name}.parquet")
"""
REPORT = """
import sys, saeviz
print(saeviz.component("reporter", "html").write(saeviz.open_run(sys.argv[1])))
"""


def make_run(
    folder: Path,
    spaces: Sequence[saeviz.FeatureSpace] = SPACES,
    n_images: int = N_IMAGES,
    n_active: int = 49,
    n_pictures: int = PICTURES,
) -> Path:
    """The run directory, without a model or a run: tables, pictures, features of the images."""
    random = np.random.default_rng(0)
    ids = [f"picture-{number:04}.png" for number in range(n_images)]
    (folder / "pictures").mkdir()
    for number, item_id in enumerate(ids):
        if number >= n_pictures:  # another name of one that is there
            (folder / "pictures" / item_id).hardlink_to(folder / "pictures" / ids[number % n_pictures])
            continue
        pixels = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / item_id)
    rundir = RunDir.create(folder / "run")
    _write_features(rundir, spaces, ids, random, n_active)
    rundir.write_table(rundir.items, pd.DataFrame({"item_id": ids, "fingerprint": ""}))
    rundir.write_table(rundir.scores, pd.concat([_scores(space, random) for space in spaces], ignore_index=True))
    tables = [_correlations(space, rating, random) for space in spaces for rating in RATINGS]
    rundir.write_table(rundir.correlations, pd.concat(tables, ignore_index=True))
    tables = [_top_images(space, ids, random) for space in spaces]
    rundir.write_table(rundir.top_images, pd.concat(tables, ignore_index=True))
    chosen = [(s.layer, s.tokens, int(index), 1, "made up") for s in spaces for index in random.integers(0, 49_152, 34)]
    table = pd.DataFrame(chosen[:SELECTED], columns=["layer", "tokens", "feature", "tier", "reason"])
    rundir.write_csv(rundir.selected, table)
    _write_manifest(rundir, spaces, n_images, folder / "pictures")
    return rundir.path


def _write_features(
    rundir: RunDir,
    spaces: Sequence[saeviz.FeatureSpace],
    ids: list[str],
    random: np.random.Generator,
    n_active: int,
) -> None:
    """On every image some features fire: a few on very many images, most on few."""
    from scipy.sparse import csr_array

    store = saeviz.component("store", "npz", context=saeviz.Context(workdir=rundir.features))
    for space in spaces:
        for start in range(0, len(ids), ROWS):
            part = ids[start : start + ROWS]
            columns = (space.n_features * random.random((len(part), n_active)) ** 3).astype(np.int64)
            values = random.exponential(size=columns.size).astype(np.float32)
            starts = np.arange(len(part) + 1) * n_active
            matrix = csr_array((values, columns.ravel(), starts), shape=(len(part), space.n_features))
            matrix.sum_duplicates()
            store.write(saeviz.FeatureBatch(space, tuple(part), matrix))
    store.close()


def _keys(space: saeviz.FeatureSpace) -> dict[str, object]:
    return {"layer": space.layer, "tokens": space.tokens, "feature": np.arange(space.n_features)}


def _scores(space: saeviz.FeatureSpace, random: np.random.Generator) -> pd.DataFrame:
    n = space.n_features
    numbers = {name: random.normal(size=n) for name in ("max", "mean", "monosemanticity", "ms_z", "ms_p", "ms_q")}
    clusters = {"cluster": random.integers(0, 6 * n // 3, n).astype(float), "cluster_size": np.full(n, 3.0)}
    text = {"ms_class": np.where(numbers["ms_z"] > 0, "good", "poor"), "ms_note": np.full(n, "")}
    return pd.DataFrame({**_keys(space), "n_active": random.integers(0, 300, n), **numbers, **text, **clusters})


def _correlations(space: saeviz.FeatureSpace, rating: str, random: np.random.Generator) -> pd.DataFrame:
    n = space.n_features
    numbers = {name: random.uniform(-1, 1, n) for name in ("r", "p", "q", "ci_low", "ci_high")}
    counts = {"n": np.full(n, 300), "n_active": random.integers(0, 300, n)}
    return pd.DataFrame({**_keys(space), "rating": rating, **counts, **numbers, "significant": numbers["q"] < 0})


def _top_images(space: saeviz.FeatureSpace, ids: list[str], random: np.random.Generator) -> pd.DataFrame:
    n = space.n_features * TOP_IMAGES
    feature = np.repeat(np.arange(space.n_features), TOP_IMAGES)
    rank = np.tile(np.arange(1, TOP_IMAGES + 1), space.n_features)
    table = pd.DataFrame({"layer": space.layer, "tokens": space.tokens, "feature": feature, "rank": rank})
    table["item_id"] = pd.Categorical.from_codes(random.integers(0, len(ids), n), categories=ids)
    table["activation"] = random.exponential(size=n).astype(np.float32)
    return table


def _write_manifest(rundir: RunDir, spaces: Sequence[saeviz.FeatureSpace], n_images: int, pictures: Path) -> None:
    spaces = [{"layer": s.layer, "tokens": s.tokens, "n_features": s.n_features} for s in spaces]
    done = {"finished": "made up", "digest": ""}
    extract = {**done, "spaces": spaces, "store": {"use": "npz"}}
    score = {**done, "facts": {}, "counts": {"images": n_images, "rated": dict.fromkeys(RATINGS, n_images)}}
    config = {"images": {"use": "folder", "path": str(pictures)}, "extractor": {}, "store": {"use": "npz"}}
    stages = {"extract": extract, "score": score, "select": done}
    rundir.write_manifest({"format": 1, "config": config, "stages": stages})


def measure(command: list[str], rounds: int) -> tuple[float, float]:
    """Seconds, the least of some rounds, and peak MiB of a process."""
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed")
        found.append((time.perf_counter() - start, usage.ru_maxrss / 1024))
    return min(seconds for seconds, _ in found), max(peak for _, peak in found)


def main() -> None:
    """Print both, each as a ratio to the baseline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rounds = arguments.rounds
    if arguments.make:
        make_run(arguments.make)
        return
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own, since a process that is started counts the memory of its parent as its peak.
        subprocess.run([sys.executable, __file__, "--make", folder], check=True)
        run = Path(folder) / "run"
        chosen = str(saeviz.open_run(run).selected[7].feature)
        commands = {
            "all tables, pandas": ["-c", BASELINE, str(run)],
            "saeviz show": ["-m", "saeviz", "show", chosen, "--run", str(run)],
            "report": ["-c", REPORT, str(run)],
        }
        found = {name: measure([sys.executable, *words], rounds) for name, words in commands.items()}
        base = found["all tables, pandas"]
        for name, (seconds, peak) in found.items():
            print(f"{name:24} {seconds:6.2f} s, {seconds / base[0]:5.2f} of the baseline", end="")
            print(f"; peak {peak:5.0f} MiB, {peak / base[1]:5.2f}")
        sizes = {path.name: path.stat().st_size >> 20 for path in run.glob("*.parquet")}
        print(json.dumps(sizes))


if __name__ == "__main__":
    main()
