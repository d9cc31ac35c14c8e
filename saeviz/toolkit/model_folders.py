"""Load untrusted model folders as data only, never running code that their settings name."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from saeviz.formats.plain import quoted
from saeviz.values.errors import DataError
from saeviz.values.regular import read_regular

PROCESSOR_NAMES = ("preprocessor_config.json", "processor_config.json")
"""Files that describe a model's image processor; transformers 5 nests it in the second for CLIP-like models."""
RUNS_CODE = {
    "trust_remote_code": "lets a library run Python code that comes with a model",
    "auto_map": "names Python code that comes with the model",
    "code_revision": "names Python code on the hub",
}
"""Keys that are refused at any depth, and what they do."""
NO_SETTINGS = frozenset({"tokenizer.json", "vocab.json"})
"""Vocabularies, whose words may equal a refused key."""
LONGEST = 64 * 2**20
WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".ckpt"})
SIZES = (("num_hidden_layers", "hidden_size"), ("layers", "width"), ("depth", "embed_dim"))
"""Keys of the number of blocks and their width, as transformers, open_clip and timm call them."""
MOST_BLOCKS = 1000
SMALL = 64 * 2**20
"""Bytes of a model that is built at once, so that loading it may say what is wrong with its weights."""


class _WantsCodeError(Exception):
    """A key of `RUNS_CODE`, and what it does."""


class _TooLargeError(Exception):
    """Sizes of a model that its weights cannot have."""


def check_folder(folder: Path, option: str) -> Path:
    """Check that a folder contains nothing but data, and return it. Call this before any library reads it.

    Raises `DataError`, beginning with `option`, if settings in the folder ask for code to be run (naming the file and
    the key) or for a model larger than its weights, or if the folder contains a pipe, socket or device.
    """
    settings, n_bytes = [], 0
    for path in sorted(folder.iterdir()):
        try:
            found = path.stat()
        except OSError:  # a link that leads nowhere
            continue
        if not stat.S_ISREG(found.st_mode):
            if not stat.S_ISDIR(found.st_mode):
                raise DataError(f"{option}: {path} is not a regular file")
        elif path.suffix.lower() == ".json" and path.name not in NO_SETTINGS:
            settings.append(path)
        elif path.suffix.lower() in WEIGHTS:
            n_bytes += found.st_size
    for path in settings:
        _check_settings(path, n_bytes, option)
    return folder


def from_folder(auto: str, folder: Path, option: str, **options: Any) -> Any:
    """`transformers.AUTO.from_pretrained(folder)`, offline, without running code and without output on stderr.

    Checks the folder first (`check_folder`). For the errors of transformers see `saeviz.toolkit.torch.loading_errors`.
    """
    import transformers

    check_folder(folder, option)
    from huggingface_hub import errors

    wrong_value: type[Exception] = getattr(errors, "StrictDataclassError", ValueError)  # of newer versions
    with _quietly():
        try:
            return getattr(transformers, auto).from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, **options
            )
        except wrong_value as error:
            raise ValueError(" ".join(str(error).split())) from error
        except RuntimeError as error:
            if "ignore_mismatched_sizes" in str(error):  # transformers refers to a table that it has printed
                raise ValueError("the weights have other shapes than config.json says") from error
            raise


def processor_settings(folder: Path) -> dict[str, Any]:
    """The settings of the image processor, found as transformers finds them; empty if there are none.

    Raises `OSError` or `ValueError` for a file that cannot be read as JSON.
    """
    beside, nested = (_object(folder / name) for name in PROCESSOR_NAMES)
    found = nested.get("image_processor")
    return found if isinstance(found, dict) else beside


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(read_regular(path))
    except RecursionError as error:
        raise ValueError(f"{path.name} is nested too deeply") from error
    return content if isinstance(content, dict) else {}


def _check_settings(path: Path, n_bytes: int, option: str) -> None:
    if path.stat().st_size > LONGEST:
        raise DataError(f"{option}: {path} is larger than {LONGEST >> 20} MiB, too large for a settings file")
    try:
        json.loads(read_regular(path), object_pairs_hook=partial(_checked, n_bytes=n_bytes))
    except _WantsCodeError as error:
        raise DataError(
            f"{option}: {path} is refused: {error}, and saeviz never runs code shipped with a model; remove the "
            f"key, or use a model that transformers, timm or open_clip support themselves"
        ) from None
    except _TooLargeError as error:
        raise DataError(f"{option}: {path} is refused: it {error}") from None
    except (OSError, ValueError, RecursionError):
        return  # the library that needs it will report what is wrong


def _checked(pairs: list[tuple[str, Any]], n_bytes: int) -> dict[str, Any]:
    """One object of settings, beside weights of `n_bytes` in all (0 if they are elsewhere)."""
    for key, value in pairs:
        if key in RUNS_CODE:
            raise _WantsCodeError(f"its key {key!r} {RUNS_CODE[key]}")
        if key.endswith("_implementation") and "/" in str(value):
            raise _WantsCodeError(f"its key {key!r} names compiled code on the hub")
    found = dict(pairs)
    for blocks_key, width_key in SIZES:
        blocks, width = found.get(blocks_key), found.get(width_key)
        if not isinstance(blocks, int):
            continue
        if blocks > MOST_BLOCKS:
            raise _TooLargeError(
                f"says {blocks_key} = {quoted(blocks)}, but no model has more than {MOST_BLOCKS} blocks"
            )
        # Each block has several square matrices of its width, of a byte or more per number.
        if isinstance(width, int) and n_bytes and blocks * width**2 > max(n_bytes, SMALL):
            raise _TooLargeError(
                f"says {blocks_key} = {blocks} and {width_key} = {quoted(width)}, but all weights have "
                f"{n_bytes / 1e6:.3g} MB"
            )
    return found


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence transformers' progress bar, warnings and table of missing weights, which callers check themselves."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
