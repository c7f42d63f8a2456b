"""How the documentation is built: ``sphinx-build -W -n docs docs/_build/html``."""

from __future__ import annotations

import os

import pantile

os.environ.setdefault("MPLBACKEND", "agg")

project = "pantile"
author = "The pantile developers"
project_copyright = "The pantile developers"
version = release = pantile.__version__

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery/*.py", "gallery_recipes/*.py", "recipes/*"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]  # the gallery's sort key is a function, which is not cached

autosummary_generate = True
numpydoc_show_class_members = False
autodoc_typehints = "none"  # the docstrings say them
default_role = "code"

plot_include_source = True
plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("png", 110)]
plot_rcparams = {"figure.constrained_layout.use": True, "image.cmap": "gray"}
plot_apply_rcparams = True

sphinx_gallery_conf = {
    "examples_dirs": ["../examples", "recipes"],
    "gallery_dirs": ["gallery", "gallery_recipes"],
    "filename_pattern": r"\.py$",
    "download_all_examples": False,
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,
}

templates_path = ["_templates"]

html_theme = "pydata_sphinx_theme"
html_title = "pantile"
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
html_sidebars = {"**": []}
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
}
