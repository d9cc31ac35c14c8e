"""Write files so that a crash leaves the old or the new, never half of either; tell run directories from others."""

from __future__ import annotations

from saeviz.files import (
    OneWriter,
    append_line,
    atomic_path,
    explain_disk_errors,
    read_lines,
    remove_temporaries,
    write_atomic,
)
from saeviz.regular import open_regular, read_regular, real_path
from saeviz.rundir import is_run_directory, run_directories

__all__ = [
    "OneWriter",
    "append_line",
    "atomic_path",
    "explain_disk_errors",
    "is_run_directory",
    "open_regular",
    "read_lines",
    "read_regular",
    "real_path",
    "remove_temporaries",
    "run_directories",
    "write_atomic",
]
