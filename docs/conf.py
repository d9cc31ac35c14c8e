"""Settings of Sphinx, which builds the site: `make docs`."""

from __future__ import annotations

import saeviz

project = "saeviz"
author = "The saeviz developers"
project_copyright = "The saeviz developers"
version = release = saeviz.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
nitpicky = True

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

html_theme = "furo"
html_title = f"saeviz {version}"
html_show_sphinx = False
html_copy_source = False
