"""Settings of Sphinx, which builds the site: `make docs`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import saeviz
from docs import generated

project = "saeviz"
author = "The saeviz developers"
version = release = saeviz.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
exclude_patterns = ["_build"]
default_role = "code"
suppress_warnings = ["ref.python"]  # a short name of which there are two leads to the first
myst_heading_anchors = 4

autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries = False  # all of them in the navigation of every page would take most of the time

html_theme = "furo"
html_title = f"saeviz {version}"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_static_path = ["site.css"]
html_css_files = ["site.css"]


def _as_rst(*given: Any) -> None:
    """Docstrings here have `Note`s and |r|, which reStructuredText takes for something else."""
    lines = given[-1]
    for number, line in enumerate(lines):
        marked = re.sub(r"(?<!`)(`[^`\s][^`]*`)(?=\w)", r"\1\\ ", line)
        lines[number] = re.sub(r"(`[^`]*`)|\|", lambda found: found[1] or r"\|", marked)


def setup(app: Any) -> None:
    """Write what is generated, and have docstrings read as they are meant."""
    generated.write()
    app.connect("autodoc-process-docstring", _as_rst)
