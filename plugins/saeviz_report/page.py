"""Values to HTML. Everything that came from data is escaped by the template engine, without exception."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

import saeviz
from saeviz_report import text
from saeviz_report.comparison import Page
from saeviz_report.explained import Explained
from saeviz_report.method import Method
from saeviz_report.rows import FeatureTable
from saeviz_report.summary import Summary, component_of
from saeviz_report.thumbnails import Thumbnail

if TYPE_CHECKING:
    from jinja2 import Environment

FAILURES_SHOWN = 500


def render(
    *,
    title: str,
    summary: Summary,
    method: Method,
    table: FeatureTable,
    explained: Explained,
    thumbnails: Mapping[str, Thumbnail],
    failures: Sequence[saeviz.Failure],
) -> str:
    """The whole page. It loads nothing but the thumbnails, and its policy lets no other script or style run."""
    from markupsafe import Markup

    style, script = _template_file("report.css"), _template_file("report.js")
    return (
        _environment()
        .get_template("report.html")
        .render(
            title=title,
            summary=summary,
            method=method,
            table=table,
            explained=explained,
            thumbnails=thumbnails,
            failures=failures,
            failures_shown=FAILURES_SHOWN,
            # Both are the plugin's own files.
            style=Markup(style),  # noqa: S704
            script=Markup(script),  # noqa: S704
            style_hash=_csp_hash(style),
            script_hash=_csp_hash(script),
            component_of=component_of,
        )
    )


def render_comparison(page: Page) -> str:
    """The page about two runs. It loads nothing, and its policy lets no script and no other style run."""
    from markupsafe import Markup

    style = _template_file("report.css") + _template_file("comparison.css")
    # The plugin's own files.
    return (
        _environment()
        .get_template("comparison.html")
        .render(
            page=page,
            style=Markup(style),  # noqa: S704
            style_hash=_csp_hash(style),
        )
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("saeviz_report"),
        autoescape=True,
        finalize=text.visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for write in (text.signed, text.fixed, text.probability, text.exact, text.plain, text.duration, text.as_json):
        environment.filters[write.__name__] = write
    return environment


def _template_file(name: str) -> str:
    return files("saeviz_report").joinpath("templates", name).read_text(encoding="utf-8")


def _csp_hash(content: str) -> str:
    return f"sha256-{b64encode(sha256(content.encode()).digest()).decode()}"
