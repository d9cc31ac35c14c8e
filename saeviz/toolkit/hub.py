"""Model files from a local folder or from the Hugging Face hub, the same way for every plugin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from saeviz.context import Context
from saeviz.errors import DataError


def fetch(
    source: str | Path,
    names: Sequence[str],
    *,
    context: Context,
    revision: str | None = None,
    option: str,
) -> Path:
    """The local path of the first of `names` that `source` holds.

    `source` is a folder, a file (taken as it is) or a hub id `owner/repository`; `option` is the option
    that named it (`extractor.saes`), for the error text. Raises `DataError` where it cannot be had.
    """
    local = Path(source).expanduser()
    if local.is_file():
        return local
    if local.is_dir():
        return _first_of(local, names, option)
    if _looks_like_a_path(source):
        raise DataError(f"{option}: there is no file or folder {source}")
    return _download(str(source), names, context=context, revision=revision, option=option)


def _first_of(folder: Path, names: Sequence[str], option: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{option}: {folder} has no {' or '.join(names)}")


def _looks_like_a_path(source: str | Path) -> bool:
    text = str(source)
    return isinstance(source, Path) or text.startswith((".", "/", "~")) or text.count("/") != 1 or "\\" in text


def _download(repo_id: str, names: Sequence[str], *, context: Context, revision: str | None, option: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    wanted = " or ".join(names)
    elsewhere = f"get {wanted} of https://huggingface.co/{repo_id} on another machine and set {option} to its folder"
    for name in names:
        try:
            return Path(hf_hub_download(repo_id, name, revision=revision, local_files_only=context.offline))
        except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            if context.offline and name != names[-1]:
                continue
            why = "offline was asked for and it is not in the cache" if context.offline else "the hub cannot be reached"
            raise DataError(f"{option}: {wanted} of {repo_id}: {why}; {elsewhere}") from error
        except EntryNotFoundError:
            continue
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{option}: {wanted} of {repo_id} cannot be had ({reason}); {elsewhere}") from error
    at = f" at revision {revision}" if revision else ""
    raise DataError(f"{option}: {repo_id}{at} has no {wanted}")
