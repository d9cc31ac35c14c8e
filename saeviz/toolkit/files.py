"""Write files atomically (a crash leaves the old or the new content, never half), and recognise run directories."""

from __future__ import annotations

from saeviz.formats.damage import UNREADABLE, Stamp
from saeviz.formats.files import (
    OneWriter,
    append_line,
    atomic_files,
    atomic_path,
    explain_disk_errors,
    read_lines,
    remove_temporaries,
    sync_all,
    write_atomic,
)
from saeviz.formats.lines import checked_line, parse_line
from saeviz.formats.run_folders import is_run_directory, run_directories
from saeviz.formats.tables import write_csv
from saeviz.values.regular import open_regular, read_regular, real_path, reason_of

__all__ = [
    "UNREADABLE",
    "OneWriter",
    "Stamp",
    "append_line",
    "atomic_files",
    "atomic_path",
    "checked_line",
    "explain_disk_errors",
    "is_run_directory",
    "open_regular",
    "parse_line",
    "read_lines",
    "read_regular",
    "real_path",
    "reason_of",
    "remove_temporaries",
    "run_directories",
    "sync_all",
    "write_atomic",
    "write_csv",
]
