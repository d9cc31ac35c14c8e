"""`saeviz serve`: serve a run to a browser or, with `--api`, features, images and embeddings to other machines."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from saeviz.api import prepare
from saeviz.cli.common import Look, granted, log_to_stderr, reading_options, say, tell, tell_problems
from saeviz.config.layers import Layer, read_run_file
from saeviz.formats.rundir import RunDir
from saeviz.pipeline.reading import Grants, opened
from saeviz.pipeline.session import Session
from saeviz.stores.places import Places
from saeviz.values.errors import ConfigError, ExitCode, PluginError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

TOKEN = "SAEVIZ_TOKEN"  # noqa: S105 - the name of a variable


@click.command()
@click.argument("sources", metavar="RUN_OR_STORE [RUN]", nargs=-1, required=True)
@click.option("--api", is_flag=True, help="Serve features, images and embeddings to programs (docs/reference/http.md).")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; any other than a loopback address requires a token.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Port to listen on; 0 picks a free one.",
)
@click.option(
    "--token-env",
    metavar="VARIABLE",
    default=TOKEN,
    show_default=True,
    help="Environment variable that holds the token.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set an option of the store, for example store.layout=item (repeatable).",
)
@click.option(
    "--labeler",
    "labeler_file",
    metavar="RUN_FILE",
    type=click.Path(path_type=Path),
    help="Run file whose labeler can name features again on request, with its key and at its cost.",
)
@reading_options
def serve(
    sources: tuple[str, ...],
    api: bool,
    host: str,
    port: int,
    token_env: str,
    assignments: tuple[str, ...],
    labeler_file: Path | None,
    **grants: Any,
) -> int:
    """Serve a run to a browser, two runs side by side, or with --api a run or a store (npz:PATH) to other machines.

    Clients can write to a store but not to a run. Prints the address on stdout and serves until interrupted.
    """
    log_to_stderr(quiet=False)
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise PluginError(f"serve needs {', '.join(missing)}, which is not installed: pip install 'saeviz[serve]'")
    from saeviz.serving.connections import listen, serve_app
    from saeviz.serving.guard import Guard, is_loopback
    from saeviz.serving.limits import Limited

    if api and labeler_file:
        raise ConfigError("--labeler is for the pages of a run; --api names nothing")
    if len(sources) > (1 if api else 2):
        raise ConfigError(f"{len(sources)} places are given; --api serves one, and pages compare two runs at most")
    if len(sources) == 2 and labeler_file:
        raise ConfigError("--labeler is for one run; serve the run whose features are to be named again by itself")
    if assignments and not api:
        raise ConfigError("--set sets an option of a store, which is served with --api")
    token = _token(token_env)
    if token is None and not is_loopback(host):
        raise ConfigError(
            f"--host {host}: other machines could connect; set the environment variable {token_env} to a token"
        )
    try:
        listening = listen(host, port)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigError(f"--host {host} --port {port}: {reason}; --port 0 picks a free one") from error
    with listening:
        given = granted(**grants)
        app = _api(sources[0], assignments, given) if api else _live(sources, given, labeler_file)
        address = f"[{host}]" if ":" in host else host
        whom = "clients that have the token" if token else "this machine only"
        how = "" if api or not token else "; in a browser, open /?token=TOKEN first"
        try:
            say(f"http://{address}:{listening.getsockname()[1]}")
            tell(f"serving {' and '.join(sources)} for {whom}{how}; stop with Ctrl-C")
            serve_app(Guard(Limited(app), token, pages=not api), listening)
        except KeyboardInterrupt:
            tell("stopped")
    return ExitCode.DONE


def _token(variable: str) -> str | None:
    token = os.environ.get(variable)
    if token is None and variable != TOKEN:
        raise ConfigError(f"--token-env: the environment variable {variable} is not set")
    if token is not None and (len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token):
        raise ConfigError(f"{variable}: a token must have at least 16 printable ASCII characters and no space")
    return token


def _api(source: str, assignments: tuple[str, ...], grants: Grants) -> ASGIApp:
    from saeviz.serving.app import make_app
    from saeviz.serving.service import Service

    place = Places(grants, assignments, "store").source(source, "store")
    tell_problems(place.manager)
    return make_app(Service(place))


def _live(sources: Sequence[str], grants: Grants, labeler_file: Path | None) -> ASGIApp:
    from saeviz.serving.live.app import make_live_app
    from saeviz.serving.live.opened import Live
    from saeviz.serving.live.pair import make_pair_app

    rundirs = [opened(source) for source in sources]
    labeler = _labeler(rundirs[0], grants.plugins, labeler_file) if labeler_file else None
    lives = [Live(rundir, grants, labeler) for rundir in rundirs]
    tell_problems(lives[0].session.manager)
    return make_pair_app(*lives) if len(lives) == 2 else make_live_app(lives[0])


def _labeler(rundir: RunDir, plugins: Sequence[str] | None, run_file: Path) -> Callable[[], Session]:
    """Opens the run with the user's own run file: nothing in its `run.json` says where the key is sent."""
    rundir.refuse_changes()
    place = Layer({"run": {"dir": str(rundir.path.absolute())}}, Path.cwd(), "the served run")
    prepared = prepare([read_run_file(run_file), place], plugins)
    if prepared.config.labeler is None:
        raise ConfigError(f"--labeler {run_file}: it has no [labeler]")
    limit = rundir.read_manifest().get("limit")

    def session() -> Session:
        return Look(prepared.config, prepared.manager, RunDir(rundir.path), limit if isinstance(limit, int) else None)

    session().components.check_ready(prepared.config.labeler)
    return session
