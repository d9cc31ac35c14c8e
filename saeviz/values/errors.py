"""Everything saeviz raises on purpose, each with the exit code that the command line ends with."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a `saeviz` command ended."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PLUGIN = 3
    PARTIAL = 4
    INTERRUPTED = 130


class SaevizError(Exception):
    """A failure that is explained in one sentence: the thing, the place and the next step."""

    exit_code = ExitCode.FAILED


class ConfigError(SaevizError):
    """The run file, an option or a flag is wrong."""

    exit_code = ExitCode.USAGE


class PluginError(SaevizError):
    """A plugin cannot be loaded, or a component does not keep to its role."""

    exit_code = ExitCode.PLUGIN


class DataError(SaevizError):
    """Images, ratings or weights cannot be used as they are."""


class MalformedError(DataError):
    """A value that components exchange is not what it has to be; in a run the component that made it is named."""


class ImageError(DataError):
    """One picture cannot be read; a run lists it in `failures.jsonl` and goes on."""


class RunDirError(SaevizError):
    """The run directory is busy, damaged, not writable or another run's."""


class LabelError(SaevizError):
    """One feature could not be named; a run lists it in `failures.jsonl` and goes on."""


class PausedError(SaevizError):
    """No further feature can be named for now: a budget is used up, a service lets nobody in.

    A run keeps the names it has, lists the rest as one failure, and goes on; the next run names the rest.
    """

    exit_code = ExitCode.PARTIAL
