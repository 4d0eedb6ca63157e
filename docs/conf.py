"""How the documentation is built; `make docs` calls it. Needs no network."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "xrs"
author = "The xrs developers"
copyright = "The xrs developers, Apache-2.0"

extensions = [
    "catalogue",  # first: it writes pages that the others read
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_design",
]

exclude_patterns = ["_build", "jupyter_execute", "figures", "**/.ipynb_checkpoints"]
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# "cache" runs a notebook again only if it changed, "off" not at all.
nb_execution_mode = os.environ.get("XRS_DOCS_NOTEBOOKS", "cache")
nb_execution_cache_path = str(HERE / "_build" / ".jupyter_cache")
nb_execution_timeout = 600
nb_execution_raise_on_error = True

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = "xrs"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False, "pygments_light_style": "default"}
html_sidebars = {"index": []}
