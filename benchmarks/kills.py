"""Runs that are killed at random moments, and what comes of them in the end.

Drawn pictures, the fake extractor and fake embeddings, scores that workers share and scores that they do not. Three
kinds of runs: two processes of the executor `local`; `--part 1/2` and `--part 2/2` at the same time, with `--gather`
after them; two actors of the executor `ray`. SIGKILL is sent to the process of the run or to one of its workers, by
turns, after a random time. The same command goes on, until the run is finished; then a new run begins, until there have
been enough kills. Every finished run is compared with that of one undisturbed process: tables, features, embeddings and
selection, byte for byte. Prints for each kind how many runs there were and how many kills; ends with 1 at the first
difference.

    python benchmarks/kills.py [--kills 30] [--kinds local part ray] [--images 20000] [--seed 0]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from fake_run import RUN_FILE

import saeviz

MORE = """
draws = 0
[[scorers]]
use = "redundancy"
[images]
use = "fake-images"
n = {images}
broken = 3
"""
TABLES = ("scores.parquet", "correlations.parquet", "top_images.parquet", "images.parquet", "selected.csv")
FLAGS: dict[str, tuple[tuple[str, ...], ...]] = {
    "local": (("--set", "executor.workers=2"),),
    "part": (("--part", "1/2"), ("--part", "2/2")),
    "ray": (("--set", "executor.use=ray", "--set", "executor.workers=2"),),
}
"""The commands that a kind of run has at the same time; those of parts are followed by `--gather`."""

WORKERS = ("saeviz_local.worker", "ray::ShardActor")
"""What is in the command lines of workers. Other processes of Ray have their machine end with them."""


class Killing:
    """Starts commands and kills them, as often as it is to."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.left = 0
        self.random = random.Random(seed)
        self.seconds = 0.0
        """The longest duration of a command that finished: none is killed later than that."""
        self.log = (folder / "log.txt").open("ab")

    def until_finished(self, commands: Sequence[Sequence[str]], out: Path) -> None:
        """Run the commands at the same time, and again as long as one of them is killed."""
        todo = list(commands)
        while todo:
            start, running = time.perf_counter(), [(one, self._start(one, out)) for one in todo]
            victim = self.random.choice(running)[1] if self.left else None
            if victim is not None:
                with suppress(subprocess.TimeoutExpired):
                    victim.wait(self.random.uniform(0, self.seconds))
                if victim.returncode is None:
                    self._kill(victim)
            todo = [one for one, process in running if not self._is_finished(process, start)]

    def _start(self, flags: Sequence[str], out: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "saeviz", "run", "run.toml", "--out", str(out), "--until", "select", "-q"]
        return subprocess.Popen([*command, *flags], cwd=self.folder, stdout=self.log, stderr=self.log)

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the run, or one of its workers if it is their turn and there are any."""
        workers = [pid for pid, words in descendants(process.pid) if any(one in words for one in WORKERS)]
        target = self.random.choice(workers) if workers and self.left % 2 else process.pid
        with suppress(ProcessLookupError):
            os.kill(target, signal.SIGKILL)
            self.left -= 1

    def _is_finished(self, process: subprocess.Popen[bytes], start: float) -> bool:
        code = process.wait()
        if code in {saeviz.ExitCode.DONE, saeviz.ExitCode.PARTIAL}:
            self.seconds = max(self.seconds, time.perf_counter() - start)
            return True
        if code != -signal.SIGKILL:
            raise SystemExit((self.folder / "log.txt").read_text()[-3000:])
        return False


def descendants(pid: int) -> Iterator[tuple[int, str]]:
    """The processes that a process has started, and theirs, with their command lines."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    waiting = children.get(pid, [])
    while waiting:
        one = waiting.pop()
        waiting += children.get(one, [])
        with suppress(OSError):
            yield one, Path(f"/proc/{one}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def contents(run_dir: Path) -> dict[str, str]:
    """A digest of everything that a run has found."""
    found = {name: hashlib.sha256((run_dir / name).read_bytes()).hexdigest() for name in TABLES}
    run = saeviz.open_run(run_dir, plugins=["module:saeviz.testing.fakes"])
    for space in run.spaces:
        features = run.features(space)
        parts = (features.matrix.indptr, features.matrix.indices, features.matrix.data)
        arrays = b"".join(part.tobytes() for part in parts)
        found[str(space)] = hashlib.sha256("\n".join(features.item_ids).encode() + arrays).hexdigest()
    embeddings = run.embeddings
    found["embeddings"] = "none" if embeddings is None else hashlib.sha256(embeddings.tobytes()).hexdigest()
    found["failures"] = repr(sorted((one.stage, one.subject) for one in run.failures))
    return found


def main() -> None:
    """Kill, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="kills of each kind")
    parser.add_argument("--kinds", nargs="+", default=list(FLAGS), choices=list(FLAGS), help="kinds of runs")
    parser.add_argument("--images", type=int, default=20_000, help="images of a run")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the moments")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "run.toml").write_text(RUN_FILE + MORE.format(images=given.images))
        Killing(folder, given.seed).until_finished([()], folder / "undisturbed")
        expected = contents(folder / "undisturbed")
        for kind in given.kinds:
            killing, n_runs = Killing(folder, given.seed), 0
            while killing.left or not n_runs:  # the first run is left alone: it says how long one takes
                out = folder / f"{kind}-{n_runs}"
                killing.until_finished(FLAGS[kind], out)
                if kind == "part":
                    killing.until_finished([("--gather", "--set", "executor.workers=2")], out)
                n_runs += 1
                made = contents(out)
                unlike = [name for name, value in expected.items() if made[name] != value]
                if unlike:
                    raise SystemExit(f"{kind}: {', '.join(unlike)} differ in run {n_runs}")
                killing.left = given.kills if n_runs == 1 else killing.left
            print(f"{kind}: {given.kills} kills in {n_runs} runs, all as of one undisturbed process", flush=True)


if __name__ == "__main__":
    main()
