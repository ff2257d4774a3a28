"""Sphinx: Markdown in, HTML out (`make docs`)."""

import augury

project = "Augury"
version = release = augury.__version__
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Augury"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["myst.xref_missing"]  # links to source files lead to the repository
