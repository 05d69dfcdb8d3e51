"""Settings of the site, which ``make docs`` builds."""

import importlib.metadata

project = "butler-visits"
author = copyright = "the butler-visits developers"
release = importlib.metadata.version(project)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
html_theme = "furo"
html_title = f"{project} {release}"
# Only names that are ours can be links: others' documentation is on the network.
default_role = "py:obj"
# Options begin with two hyphens, and not with a dash.
smartquotes = False
# What has no language is commands and what they print.
highlight_language = "text"
# Headings have the anchors that they have on a forge, so that links between pages work on both.
myst_heading_anchors = 4
napoleon_google_docstring = False
# The docstrings have the types.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
