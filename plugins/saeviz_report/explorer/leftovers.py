"""Pages that earlier runs left in a form that no reporter of the run has any more: they would show old results."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import saeviz
from saeviz.toolkit.files import explain_disk_errors
from saeviz_report.thumbnails import folder_of, remove_other_thumbnails

FOLDERS = ("report", "explorer")
"""Where pages with files beside them lie, and where an earlier state of saeviz wrote them."""
ONE_FILE = "report.html"


def remove_other_forms(run: saeviz.Run, *, single_file: bool) -> None:
    """Remove what is not this form, nor that of another reporter `html` of the run; files of others stay."""
    config = run.manifest.get("config")
    given = config.get("reporters") if isinstance(config, Mapping) else None
    own = [one for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []
    forms = {single_file, *(bool(one.get("single_file")) for one in own if one.get("use") == "html")}
    if True not in forms:
        _remove_page(run.dir / ONE_FILE)
    for name in FOLDERS if False not in forms else FOLDERS[1:]:
        with suppress(saeviz.RunDirError):  # it is a link, so no report wrote it
            _remove_folder(folder_of(run, name))


def _remove_page(page: Path) -> None:
    if page.is_file() and not page.is_symlink():
        with explain_disk_errors(page, "removed"):
            if 'type="application/json" data-name="' in page.read_text(encoding="utf-8", errors="replace"):
                page.unlink()


def _remove_folder(folder: Path) -> None:
    contents = [path for path in folder.glob("content-*") if path.is_dir() and not path.is_symlink()]
    if not contents or not (folder / "index.html").is_file():
        return
    with explain_disk_errors(folder, "removed"):
        (folder / "index.html").unlink()
        for path in contents:
            shutil.rmtree(path)
        remove_other_thumbnails(folder / "pictures", ())
        for lock in (folder / ".saeviz-lock", folder / "pictures" / ".saeviz-lock"):
            lock.unlink(missing_ok=True)
    with suppress(OSError):  # files of others are in it
        (folder / "pictures").rmdir()
        folder.rmdir()
