"""Load a data set with `datasets`, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz.toolkit.files import run_directories
from saeviz.toolkit.hub_errors import what_the_hub_said
from saeviz.toolkit.torch import first_line

if TYPE_CHECKING:
    from datasets import Dataset, Features

    from saeviz_huggingface import HuggingFaceOptions

MARKS_OF_SAVE_TO_DISK = ("state.json", "dataset_dict.json")

SETTINGS = ("README.md", ".huggingface.yaml")
"""Files of a folder whose `configs` can name the data files."""


def is_local(path: str) -> bool:
    """Whether a path or hub id names something on this machine."""
    return Path(path).expanduser().exists()


def load(options: HuggingFaceOptions, context: saeviz.Context) -> Dataset:
    """The split that the options name, memory-mapped from disk. No code of the data set is run.

    Raises `DataError` if it cannot be loaded.
    """
    from datasets import load_dataset

    folder = Path(options.path).expanduser()
    with _explained(options, context, folder):
        if is_saved(folder):
            return _saved(folder, options.split)
        _check(folder, options)
        with _without_network() if context.offline else nullcontext():
            return load_dataset(
                str(folder) if folder.exists() else options.path,
                options.config,
                split=options.split,
                revision=None if folder.exists() else options.revision,
            )


def files_of(options: HuggingFaceOptions, context: saeviz.Context) -> tuple[list[str], Features | None]:
    """The paths or `hf://` addresses of a split's files, and the columns as far as the data set declares them.

    Nothing but the list of files is loaded. Raises `DataError` if it cannot be.
    """
    from datasets import load_dataset_builder

    folder = Path(options.path).expanduser()
    with _explained(options, context, folder):
        _check(folder, options)
        if context.offline and not folder.exists():
            raise saeviz.DataError(f"images.stream: {options.path} is on the hub; {context.why_offline}")
        builder = load_dataset_builder(
            str(folder) if folder.exists() else options.path,
            options.config,
            revision=None if folder.exists() else options.revision,
        )
        files: dict[str, list[str]] = {
            str(name): list(files) for name, files in (builder.config.data_files or {}).items()
        }
    if options.split not in files:
        have = f"it has {', '.join(files)}" if files else "it has none"
        raise saeviz.DataError(f"images.split: {options.path} has no split {options.split!r}; {have}")
    return files[options.split], builder.info.features


def is_saved(folder: Path) -> bool:
    """Whether a folder is from `save_to_disk`."""
    return any((folder / mark).is_file() for mark in MARKS_OF_SAVE_TO_DISK)


@contextmanager
def _explained(options: HuggingFaceOptions, context: saeviz.Context, folder: Path) -> Iterator[None]:
    from datasets.exceptions import DatasetsError

    try:
        yield
    except (DatasetsError, OSError, ValueError, RuntimeError) as error:
        reason = what_the_hub_said(error, f"datasets/{options.path}") or first_line(error)
        raise saeviz.DataError(
            f"images.path: {options.path} cannot be loaded: {reason}{_step(folder, context)}"
        ) from error


def _check(folder: Path, options: HuggingFaceOptions) -> None:
    if not folder.exists() and options.path.startswith((".", "/", "~")):
        raise saeviz.DataError(f"images.path: no folder {options.path}")
    _refuse_runs(folder)
    _refuse_addresses(folder)


def _refuse_runs(folder: Path) -> None:
    """The library takes every picture in a folder, those of reports as well."""
    runs = run_directories(folder) if folder.is_dir() else []
    if runs:
        raise saeviz.DataError(
            f"images.path: {folder} has a run directory of saeviz in it ({runs[0]}), whose pictures would count as "
            'images; keep runs elsewhere, or set images.use = "folder", which skips them'
        )


def _refuse_addresses(folder: Path) -> None:
    """The library reads data files from wherever the settings in a folder say, by protocols that know no offline."""
    import yaml
    from huggingface_hub.repocard import metadata_load

    for name in SETTINGS:
        file = folder / name
        if not file.is_file():
            continue
        try:
            settings = metadata_load(file) if file.suffix == ".md" else yaml.safe_load(file.read_text("utf-8"))
        except yaml.YAMLError as error:
            raise saeviz.DataError(f"images.path: {file} is not YAML: {first_line(error)}") from error
        found = str(settings.get("configs")) if isinstance(settings, dict) else ""
        if "://" in found or "::" in found:
            raise saeviz.DataError(
                f"images.path: {file} names data files on other machines; download them into the folder and name them "
                "by their paths there"
            )


def _saved(folder: Path, split: str) -> Dataset:
    from datasets import DatasetDict, load_from_disk

    found: Any = load_from_disk(str(folder))
    if not isinstance(found, DatasetDict):
        return found
    if split not in found:
        raise saeviz.DataError(f"images.split: {folder} has no split {split!r}; it has {', '.join(found)}")
    return found[split]


@contextmanager
def _without_network() -> Iterator[None]:
    """What HF_HUB_OFFLINE does, which both libraries read only when they are imported."""
    from datasets import config
    from huggingface_hub import constants

    before = config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


def _step(folder: Path, context: saeviz.Context) -> str:
    if folder.exists():
        return ""
    if context.offline:
        return f"; it must be a folder, or in the cache of datasets, since {context.why_offline}"
    return "; without the hub, load it on another machine, `save_to_disk` it and set images.path to that folder"
