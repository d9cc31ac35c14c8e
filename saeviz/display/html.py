"""HTML for notebooks: templates that escape whatever they are given, and pictures inside them."""

from __future__ import annotations

import math
from base64 import b64encode
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

from saeviz.formats.plain import shortened
from saeviz.pictures.rgb import to_rgb
from saeviz.values.errors import ImageError

if TYPE_CHECKING:
    from jinja2 import Environment

    from saeviz.values.images import ImageItem

LONGEST = 120
"""Characters of any text from outside that are shown."""


def render(template: str, **values: Any) -> str:
    """The HTML of one of the templates."""
    return _templates().get_template(f"{template}.html").render(**values)


def picture_url(item: ImageItem, size: int) -> str | None:
    """The picture, at most `size` pixels high and twice as wide, as a `data:` URL; None if it cannot be read."""
    try:
        image = to_rgb(item.open())
    except ImageError:
        return None
    image.thumbnail((2 * size, size))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode('ascii')}"


@cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("saeviz.display"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = lambda text: shortened(str(text), LONGEST)
    environment.filters["signed"] = lambda value: _number(value, "+.2f")
    environment.filters["number"] = lambda value: _number(value, ".3g")
    return environment


def _number(value: Any, form: str) -> str:
    """A number, or a dash if it is missing."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "\N{EN DASH}"
    return format(value, form).replace("-", "\N{MINUS SIGN}")
