"""The same tests, with the same ids and in one order, in every process: pytest-xdist compares those of its workers.

    python tests/collect_twice.py

Collects twice at the same time, under another clock, hash seed, home, temporary and working folder, time zone and
encoding, and says where the two lists differ.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from difflib import unified_diff
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECT = """
import sys, pytest, time_machine
with time_machine.travel(float(sys.argv[1])):
    sys.exit(pytest.main(sys.argv[2:]))
"""
WAYS = (
    (1_000_000_000.25, {"PYTHONHASHSEED": "1", "TZ": "UTC", "OMP_NUM_THREADS": "1"}),
    (1_900_000_000.75, {"PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo", "PYTHONUTF8": "1", "LC_ALL": "C"}),
)


def start(clock: float, changes: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    """A process that prints the ids of all tests, in their order."""
    for name in ("home", "tmp", "here"):
        (folder / name).mkdir(parents=True)
    flags = ["--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--rootdir={ROOT}"]
    return subprocess.Popen(
        [sys.executable, "-c", COLLECT, str(clock), *flags, "-c", str(ROOT / "pyproject.toml"), str(ROOT / "tests")],
        env={**os.environ, "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), **changes},
        cwd=folder / "here",
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="backslashreplace",
    )  # fmt: skip


def main() -> int:
    """0 where both lists are the same."""
    with tempfile.TemporaryDirectory() as folder:
        running = [start(*way, Path(folder) / str(number)) for number, way in enumerate(WAYS)]
        texts = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        print(*(text[-3_000:] for text in texts), "the tests cannot be collected", sep="\n")
        return 1
    first, second = ([line for line in text.splitlines() if "::" in line] for text in texts)
    if first != second:
        print(*unified_diff(first, second, "one process", "another", n=0, lineterm=""), sep="\n")
        print("tests depend on the process that collects them: give these parameters ids and an order of their own")
        return 1
    print(f"{len(first)} tests have the same ids in two processes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
