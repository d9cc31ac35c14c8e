"""A comparison as HTML. Everything that came from data is escaped by the template engine, without exception."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from saeviz_report import text
from saeviz_report.comparison import Page

STYLE = "comparison.css"


def style_of_comparison() -> str:
    """The style of the page, which one that is served has in a file beside it."""
    return files("saeviz_report").joinpath("templates", STYLE).read_text(encoding="utf-8")


def render_comparison(page: Page) -> str:
    """The page about two runs. It loads nothing, or its style if it has viewers; its policy lets no script run."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("saeviz_report"),
        autoescape=True,
        finalize=text.visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(signed=text.signed, plain=text.plain)
    style = style_of_comparison()
    digest = b64encode(sha256(style.encode()).digest()).decode()
    # The style is the plugin's own file.
    return environment.get_template("comparison.html").render(
        page=page,
        style=Markup(style),  # noqa: S704
        style_hash=f"sha256-{digest}",
    )
