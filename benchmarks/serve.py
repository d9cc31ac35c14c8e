"""Ten users who open cards of a served run of 100,000 images and three spaces of 49,152 features, some 150 million
activations: median and 95 % of the times of a card's requests, and the memory of the server.

The run is made up and served by `saeviz serve` on this machine, where the users run as well. A card asks for the
feature's images and activations, and for 12 small pictures of different images. The baseline is what ten users wait for
`/api/run`, which says a few words about the run.

    python -m benchmarks.serve [--images 100000] [--active 560] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np

USERS, CARDS, PICTURES = 10, 40, 12
MAKE = """
import pathlib, sys
from benchmarks.reading import SPACES, make_run
make_run(pathlib.Path(sys.argv[1]), SPACES[::2], int(sys.argv[2]), int(sys.argv[3]))
"""


class Server:
    """`saeviz serve` of a run, in a process of its own."""

    def __init__(self, run: Path, cache: Path) -> None:
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "saeviz", "serve", str(run), "--port", "0"],
            env={**os.environ, "SAEVIZ_RUN__CACHE_DIR": str(cache)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = urlsplit(self.process.stdout.readline().strip()).netloc
        if not self.address:
            raise SystemExit("the server did not start")
        self.seconds = time.perf_counter() - started

    def peak(self) -> float:
        """Peak memory in MiB so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


class User:
    """One connection, and how long each answer took."""

    def __init__(self, address: str, number: int) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=60)
        self.random = random.Random(number)
        self.times: dict[str, list[float]] = {}

    def get(self, path: str, name: str) -> bytes:
        """The answer to a request."""
        start = time.perf_counter()
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        body = answer.read()
        self.times.setdefault(name, []).append(time.perf_counter() - start)
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {body[:300]!r}")
        return body

    def open_cards(self, spaces: list[str], n_features: int) -> None:
        """Open some cards of random features, and look at their pictures."""
        for _ in range(CARDS):
            start = time.perf_counter()
            feature = f"{self.random.choice(spaces)}/{self.random.randrange(n_features)}"
            card = json.loads(self.get(f"/api/feature?feature={feature}", "a card: images and activations"))
            n = len(b64decode(card["values"]["data"])) // 4
            for top in card["top"][:PICTURES]:
                self.get(f"/api/picture?item={quote(top['item'])}", "a small picture")
            whole = time.perf_counter() - start
            if card["top"]:
                self.get(f"/api/image?item={quote(card['top'][0]['item'])}", "an image: its features")
            self.times.setdefault(f"a card and its {PICTURES} pictures", []).append(whole)
            self.times.setdefault("", []).append(n)


def together(address: str, use: Callable[[User], None]) -> dict[str, list[float]]:
    """The times of all users, who do the same at once."""
    users = [User(address, number) for number in range(USERS)]
    with ThreadPoolExecutor(USERS) as pool:
        list(pool.map(use, users))
    return {name: [one for user in users for one in user.times[name]] for name in users[0].times}


def ask_for_the_run(user: User) -> None:
    """The baseline."""
    for _ in range(CARDS):
        user.get("/api/run", "/api/run")


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--active", type=int, default=560, help="features of a space that fire on an image, about")
    parser.add_argument("--keep", type=Path, help="folder of the run and the cache, kept for another time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        if not (folder / "run").exists():
            folder.mkdir(exist_ok=True)
            command = [sys.executable, "-c", MAKE, str(folder), str(arguments.images), str(arguments.active)]
            subprocess.run(command, check=True)
        cache = folder / "cache"
        if not cache.exists():
            first = Server(folder / "run", cache)
            print(f"first start   {first.seconds:6.1f} s, peak {first.peak():5.0f} MiB", flush=True)
            first.stop()
        server = Server(folder / "run", cache)
        print(f"later start   {server.seconds:6.1f} s, peak {server.peak():5.0f} MiB")
        size = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
        print(f"features by feature take {size / 2**20:.0f} MiB in the cache")
        try:
            about = json.loads(User(server.address, 0).get("/api/run", ""))
            spaces = [space["name"] for space in about["spaces"]]
            found = together(server.address, ask_for_the_run)
            found |= together(server.address, lambda user: user.open_cards(spaces, about["spaces"][0]["n"]))
            print(f"{about['n_images']} images; a card has {np.mean(found.pop('')):.0f} activations on average")
            base = np.median(found["/api/run"])
            for name, times in found.items():
                middle, high = np.quantile(times, [0.5, 0.95])
                print(f"{name:30} median {1000 * middle:6.1f} ms ({middle / base:5.2f}), 95 % {1000 * high:6.1f} ms")
            print(f"peak memory of the server {server.peak():5.0f} MiB")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
