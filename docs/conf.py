"""The site: ``sphinx-build -W docs site``. Pages of losses, presets and public names are made from
the code by `website/`, formulas become MathML, and no page asks for anything of the network.
"""

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"  # TensorFlow need not be there

sys.path.insert(0, str(Path(__file__).parent.parent))

project = "nearfar"
author = "The nearfar developers"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "website.extension",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
smartquotes = False  # --option is no dash, and strings keep their quotes
html_theme = "furo"
html_title = "nearfar"
html_show_copyright = False
html_show_sphinx = False
html_static_path = ["assets"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_inherit_docstrings = False  # Keras writes its own in Markdown
autodoc_mock_imports = ["tensorflow", "jax"]
suppress_warnings = ["ref.python"]  # a name in a docstring that several classes have is no link
autodoc_default_options = {"members": True, "show-inheritance": False}
