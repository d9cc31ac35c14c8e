"""Get model files from a local folder or the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from saeviz.contract.context import Context
from saeviz.toolkit.hub_errors import what_the_hub_said
from saeviz.toolkit.torch import first_line
from saeviz.values.errors import DataError

UNREACHABLE = "cannot be downloaded because the hub cannot be reached"


def fetch(
    source: str | Path,
    names: Sequence[str],
    *,
    context: Context,
    revision: str | None = None,
    option: str,
    needed: str = "",
) -> Path:
    """The local path of the first of `names` that exists in `source`.

    `source` is a folder, a file (used as it is) or a hub id `owner/repository`. For error messages, `option` is the
    option that gave it (`extractor.saes.7`) and `needed` lists all files needed from the repository (default: one of
    `names`). Raises `DataError` if none of them can be found or downloaded.
    """
    local = Path(source).expanduser()
    if local.is_file():
        return local
    if local.is_dir():
        return _first_of(local, names, option)
    if _looks_like_a_path(source):
        raise DataError(f"{option}: no file or folder {source}")
    return _download(str(source), names, context=context, revision=revision, option=option, needed=needed)


def files_of(repo_id: str, *, context: Context, revision: str | None = None, option: str) -> list[str]:
    """The paths of all files in a hub repository; empty when offline.

    Raises `DataError` if the hub does not list them.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    if context.offline:
        return []
    try:
        return HfApi().list_repo_files(repo_id, revision=revision)
    except OfflineModeIsEnabled:
        return []
    except _failures() as error:
        reason = what_the_hub_said(error, repo_id) or first_line(error)
        raise DataError(f"{option}: the files of {repo_id} cannot be listed: {reason}") from error


def _failures() -> tuple[type[Exception], ...]:
    """The errors of the hub's library; its bases include those of the HTTP client of the installed version."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    return cast("tuple[type[Exception], ...]", (HFValidationError, *HfHubHTTPError.__bases__, OSError))


def _first_of(folder: Path, names: Sequence[str], option: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{option}: {folder} has no {' or '.join(names)}")


def _looks_like_a_path(source: str | Path) -> bool:
    text = str(source)
    return isinstance(source, Path) or text.startswith((".", "/", "~")) or text.count("/") != 1 or "\\" in text


def commit_of(path: Path) -> str | None:
    """The commit of a file in the hub's cache, None for any other file."""
    for folder in path.absolute().parents:
        if folder.parent.name == "snapshots":
            return folder.name
    return None


def _download(
    repo_id: str, names: Sequence[str], *, context: Context, revision: str | None, option: str, needed: str
) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, OfflineModeIsEnabled

    wanted = " or ".join(names)
    missing = f"{option}: {repo_id} is not a local folder, and {wanted}"
    elsewhere = (
        f"download {needed or wanted} from https://huggingface.co/{repo_id} on another machine and set {option} to "
        "the folder"
    )
    unreached: Exception | None = None
    for name in names:
        try:
            only_cache = context.offline or unreached is not None
            return Path(hf_hub_download(repo_id, name, revision=revision, local_files_only=only_cache))
        except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            unreached = unreached or error
        except EntryNotFoundError:
            continue
        except _failures() as error:
            reason = what_the_hub_said(error, repo_id) or first_line(error)
            raise DataError(f"{missing} cannot be downloaded from the hub: {reason}; or {elsewhere}") from error
    if unreached is not None:
        said = what_the_hub_said(unreached, repo_id)
        if said is not None:
            raise DataError(f"{missing} cannot be downloaded from the hub: {said}; or {elsewhere}") from unreached
        why = f"is not in the hub's cache, and {context.why_offline}" if context.offline else UNREACHABLE
        raise DataError(f"{missing} {why}; {elsewhere}") from unreached
    at = f" at revision {revision}" if revision else ""
    raise DataError(f"{option}: {repo_id}{at} has no {wanted}")
