"""How the cores and GPUs of this machine are shared among workers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Read by the libraries that compute when they are loaded; torch goes by the first."""


def environment_of(number: int, n_workers: int, gpus: Sequence[str]) -> dict[str, str]:
    """The environment of a worker: this process's, with its share of the threads and a GPU if there are any."""
    threads = str(max(1, _cores() // n_workers))
    own = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}
    # The folders from which this process imports, for plugins that are not installed.
    path = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
    return {**os.environ, **dict.fromkeys(THREADS, threads), **own, "PYTHONPATH": path}


def _cores() -> int:
    """The threads that this process may have."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus_for(device: str) -> list[str]:
    """The GPUs among which `run.device` leaves the choice, found without loading torch."""
    if device not in {"auto", "cuda"}:
        return []
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in {"", "-1"}]
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        listed = subprocess.run(  # noqa: S603 a program of the driver
            [command, "-L"], capture_output=True, text=True, timeout=30, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(number) for number, line in enumerate(line for line in listed.splitlines() if line.startswith("GPU"))]
