"""Peak memory of image providers that stream, for 10,000 images and for 1,000,000.

    python benchmarks/streaming.py

Each provider is asked for all of its images, in a process of its own, and for the bytes of the pictures of every
thousandth; nothing is kept of them. It prints the peak memory of each process, what it is beyond that of 10,000
images, and how many images a second it gives. `table`, `csv` and `raters` in memory are the baselines.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

RATERS = 3
SIZES = (10_000, 100_000, 1_000_000)
PROVIDERS = ("table", "table, stream", "csv", "csv, stream", "raters", "raters, stream", "bytes, stream", "webdataset")
PER_TAR = 10_000
PICTURE = b"\x89PNG" + bytes(196)
"""As small as a name, so that a million take a minute to write; larger ones are read one at a time as well."""


def main() -> None:
    """Print the table, or with `--measure` measure one provider."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs=3, metavar=("PROVIDER", "FOLDER", "N"), help=argparse.SUPPRESS)
    parser.add_argument("--images", type=int, nargs="+", default=SIZES, help="numbers of images")
    parser.add_argument("--providers", nargs="+", choices=PROVIDERS, default=PROVIDERS, help="which to measure")
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure[0], Path(arguments.measure[1]), int(arguments.measure[2]))
        return
    print(f"{'provider':<22}{'images':>10}{'peak MiB':>10}{'beyond':>8}{'images/s':>10}")
    for provider in arguments.providers:
        least = None
        for n in arguments.images:
            with tempfile.TemporaryDirectory() as folder:
                write(provider, Path(folder), n)
                command = [sys.executable, __file__, "--measure", provider, folder, str(n)]
                found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            least = least or found["peak"]
            print(
                f"{provider:<22}{n:>10,}{found['peak']:>10,.0f}{found['peak'] - least:>8,.0f}{found['rate']:>10,.0f}",
                flush=True,
            )


def write(provider: str, folder: Path, n: int) -> None:
    """Write a data set of `n` images with a rating and a title."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if provider.startswith(("csv", "raters")):
        with (folder / "table.csv").open("w") as file:
            file.write("image,liking,title,rater\n")
            for number in range(n):
                for rater in range(RATERS if provider.startswith("raters") else 1):
                    file.write(f"https://example.org/{number}.png,{(number + rater) % 7},no {number},r{rater}\n")
        return
    if provider == "webdataset":
        for start in range(0, n, PER_TAR):
            with tarfile.open(folder / f"{start // PER_TAR:06}.tar", "w") as tar:
                for number in range(start, min(start + PER_TAR, n)):
                    add(tar, f"{number:09}.png", PICTURE)
                    add(tar, f"{number:09}.json", json.dumps({"liking": number % 7, "title": f"no {number}"}).encode())
        return
    kind = pa.binary() if provider.startswith("bytes") else pa.string()
    schema = pa.schema([("image", kind), ("liking", pa.float64()), ("title", pa.string())])
    with pq.ParquetWriter(folder / "table.parquet", schema) as writer:
        for start in range(0, n, PER_TAR):
            numbers = range(start, min(start + PER_TAR, n))
            images = [PICTURE if kind == pa.binary() else f"https://example.org/{number}.png" for number in numbers]
            columns = [images, [float(number % 7) for number in numbers], [f"no {number}" for number in numbers]]
            writer.write_table(pa.table(columns, schema=schema))


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file to a tar file."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def measure(provider: str, folder: Path, n: int) -> None:
    """Print the peak memory of this process, which goes through all images, as JSON."""
    import saeviz

    name = provider.partition(",")[0]
    options = {"path": folder if name == "webdataset" else next(folder.glob("table.*"))}
    if provider.endswith("stream"):
        options["stream"] = True
    if name == "raters":
        options["rater_column"] = "rater"
    images = saeviz.component("images", "webdataset" if name == "webdataset" else "table", **options)
    begin, found = time.perf_counter(), 0
    for item in images.iter_images():
        found += bool(item.ratings)
        if found % 1000 == 0 and hasattr(item.source, "item_id") and name in ("bytes", "webdataset"):
            assert item.read_bytes() == PICTURE
    assert found == n
    rate = found / (time.perf_counter() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    print(json.dumps({"peak": peak, "rate": rate}))


if __name__ == "__main__":
    main()
