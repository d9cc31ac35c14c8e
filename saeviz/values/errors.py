"""The exceptions of saeviz, each with the exit code of the command line."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of the `saeviz` command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PLUGIN = 3
    PARTIAL = 4
    INTERRUPTED = 130


class SaevizError(Exception):
    """Base class: an error whose message says in one sentence what is wrong, where, and what to do."""

    exit_code = ExitCode.FAILED


class ConfigError(SaevizError):
    """The run file, an option or a flag is wrong."""

    exit_code = ExitCode.USAGE


class PluginError(SaevizError):
    """A plugin cannot be loaded, or a component violates the contract of its role."""

    exit_code = ExitCode.PLUGIN


class DataError(SaevizError):
    """Images, ratings, features or weights cannot be used."""


class MalformedError(DataError):
    """A value passed between components is invalid; in a run, the message names the component that made it."""


class NoHeatmapError(DataError):
    """Features have no heatmaps, such as those of an embedding of the whole image; naming continues without."""


class ImageError(DataError):
    """One picture cannot be read; a run lists it in `failures.jsonl` and continues."""


class RunDirError(SaevizError):
    """The run directory is in use, damaged, not writable, or belongs to another run."""


class LabelError(SaevizError):
    """One feature could not be named; a run lists it in `failures.jsonl` and continues."""


class WorkerError(SaevizError):
    """Workers die of the same images again and again, for example because the system ends them."""


class PausedError(SaevizError):
    """No more features can be named for now: a budget is used up, or a service is unavailable.

    A run keeps the names it has, lists the rest as one failure, and continues; the next run names the rest.
    """

    exit_code = ExitCode.PARTIAL
