"""`saeviz cache`: show and prune the cache that runs share."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from saeviz.cache import pruning
from saeviz.cache.copies import Copies
from saeviz.cache.downloads import Downloads
from saeviz.cache.entries import Kept, SharedCache
from saeviz.cache.mirrors import Mirrors
from saeviz.cli.common import F, say, say_json
from saeviz.formats.files import explain_disk_errors
from saeviz.formats.paths import absolute, default_cache_dir
from saeviz.values.errors import RunDirError

BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
SECONDS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}


def cache_dir_option(**how: Any) -> Callable[[F], F]:
    """The flag `--cache-dir`; None where it is not given."""
    return click.option(
        "--cache-dir",
        type=click.Path(path_type=Path, file_okay=False),
        show_default="~/.cache/saeviz",
        callback=lambda _context, _parameter, path: absolute(str(path), Path()) if path else None,
        help="Folder of the cache (run.cache_dir).",
        **how,
    )


@click.group(invoke_without_command=True)
@cache_dir_option(envvar="SAEVIZ_RUN__CACHE_DIR")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def cache(context: click.Context, cache_dir: Path | None, as_json: bool) -> None:
    """Show what runs share: features and embeddings by model, and pictures and tar files fetched by URL."""
    context.obj = cache_dir
    if context.invoked_subcommand is not None:
        return
    cache_dir = cache_dir or default_cache_dir()
    found = _usage(cache_dir)
    if as_json:
        say_json({"cache_dir": str(cache_dir), "kept": [vars(usage) for usage in found]})
        return
    width = max((len(usage.title) for usage in found), default=0)
    for usage in found:
        used = datetime.fromtimestamp(usage.used).strftime("%Y-%m-%d")
        say(f"{usage.kind:10}  {usage.title:{width}}  {usage.images:9} images  {_text(usage.size):>8}  used {used}")
    say(f"{_text(sum(usage.size for usage in found))} in {cache_dir}")


def _amount(units: Mapping[str, int], example: str) -> Callable[..., float | None]:
    """An option callback that parses a number with one of the units; `example` is for the error message."""

    def read(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text or "", re.IGNORECASE)
        if text is None:
            return None
        if match is None or match[2].lower() not in units:
            raise click.BadParameter(f"{text!r} is not valid; for example {example}")
        return float(match[1]) * units[match[2].lower()]

    return read


@cache.command()
@click.option(
    "--older-than",
    metavar="AGE",
    callback=_amount(SECONDS, "30d"),
    help="Remove entries unused for longer than AGE: 12h, 30d, 8w.",
)
@click.option(
    "--max-size",
    metavar="SIZE",
    callback=_amount(BYTES, "10GB"),
    help="Remove the least recently used entries until SIZE is left: 500MB, 10GB.",
)
@click.option("--all", "everything", is_flag=True, help="Remove everything.")
@cache_dir_option()
@click.pass_obj
def prune(
    above: Path | None, older_than: float | None, max_size: float | None, everything: bool, cache_dir: Path | None
) -> None:
    """Remove entries of the cache. Run directories are not affected, because they have their own copies."""
    if older_than is None and max_size is None and not everything:
        raise click.UsageError("choose what to remove: --older-than, --max-size or --all")
    cache_dir = cache_dir or above or default_cache_dir()
    cutoff = time.time() + 1 if everything else time.time() - older_than if older_than is not None else 0.0
    if everything:
        _remove_if_damaged(cache_dir)
    with _opened(cache_dir) as shared:
        parts: list[pruning.Part] = [Downloads(cache_dir), Copies(cache_dir), Mirrors(cache_dir)]
        parts += [shared] if shared is not None else []
        n, removed, left = pruning.prune(parts, cutoff, max_size)
    say(f"removed {n} {'entry' if n == 1 else 'entries'}, {_text(removed)}; {_text(left)} left in {cache_dir}")


def _usage(cache_dir: Path) -> list[Kept]:
    with _opened(cache_dir) as shared:
        found = shared.usage() if shared is not None else []
    pictures = list(Downloads(cache_dir).by_use())
    if pictures:
        size = sum(picture.size for picture in pictures)
        found.append(Kept("downloads", "pictures and tar files fetched by URL", len(pictures), size, pictures[-1].used))
    return [*found, *Copies(cache_dir).usage(), *Mirrors(cache_dir).usage()]


@contextmanager
def _opened(cache_dir: Path) -> Iterator[SharedCache | None]:
    """The cache of features and embeddings, None if it does not exist; raises `RunDirError` if it is damaged."""
    path = SharedCache.path_in(cache_dir)
    if not path.exists():
        yield None
        return
    try:
        with closing(SharedCache(cache_dir)) as shared:
            yield shared
    except sqlite3.Error as error:
        raise RunDirError(f"{path} cannot be used ({error}); `saeviz cache prune --all` removes it") from error


def _remove_if_damaged(cache_dir: Path) -> None:
    path = SharedCache.path_in(cache_dir)
    try:
        with _opened(cache_dir) as shared:
            for _ in shared.by_use() if shared else ():
                break
    except RunDirError as error:
        if isinstance(error.__cause__, sqlite3.OperationalError):  # locked, not permitted, disk full
            raise
        with explain_disk_errors(path, "removed"):
            path.unlink()


def _text(size: float) -> str:
    unit = next((unit for unit in ("GB", "MB", "kB") if size >= BYTES[unit.lower()]), None)
    return f"{size / BYTES[unit.lower()]:.1f} {unit}" if unit else f"{size:.0f} B"
