"""Sphinx: `make docs` builds docs/_build/html; a warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from facekp import __version__

project = "facekp"
author = "facekp developers"
copyright = "2026, facekp developers"
release = __version__

extensions = [
    "myst_parser",  # pages in Markdown
    "sphinx.ext.autodoc",  # the API reference, from docstrings
    "sphinx.ext.napoleon",  # Args, Returns, Raises
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "facekp_reference",  # the reference of settings, from conf/, and the list of modules
]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
default_role = "py:obj"  # `name` in a docstring links to what it names
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_use_type_comments = False  # the code has none; searching for them takes a tenth of the build
autodoc_inherit_docstrings = False  # the bases' own pages hold theirs
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_mock_imports = ["gradio", "wandb_workspaces", "kaggle"]
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"facekp {release}"
html_static_path: list[str] = []
exclude_patterns = ["_build", "_ext"]
