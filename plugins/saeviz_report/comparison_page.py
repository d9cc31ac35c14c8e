"""A comparison as HTML. Everything that came from data is escaped by the template engine, without exception."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from saeviz_report import text
from saeviz_report.comparison import Page


def render_comparison(page: Page) -> str:
    """The page about two runs. It loads nothing, and its policy lets no script and no other style run."""
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
    style = files("saeviz_report").joinpath("templates", "comparison.css").read_text(encoding="utf-8")
    digest = b64encode(sha256(style.encode()).digest()).decode()
    # The style is the plugin's own file.
    return environment.get_template("comparison.html").render(
        page=page,
        style=Markup(style),  # noqa: S704
        style_hash=f"sha256-{digest}",
    )
