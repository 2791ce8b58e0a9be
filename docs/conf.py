"""Sphinx configuration. Build with ``sphinx-build -W --keep-going docs docs/_build``; no network is needed."""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import figures

import counterpoise

project = "counterpoise"
author = "The counterpoise authors"
copyright = author
version = release = counterpoise.__version__

extensions = [
    "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx_gallery.gen_gallery",
    "public", "commands", "links",
]  # fmt: skip
exclude_patterns = ["_build", "gallery", "examples"]
templates_path: list[str] = []

myst_enable_extensions = ["attrs_inline", "dollarmath"]
myst_heading_anchors = 3

default_role = "py:obj"
add_module_names = False
autodoc_typehints = "none"
autodoc_default_options = {
    "exclude-members": "set_fit_request, set_predict_request, set_score_request, set_transform_request"
}
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = [("Yields", "returns_style")]

html_theme = "furo"
html_title = "counterpoise"
html_static_path = ["_static"]
html_css_files = ["house.css"]
html_favicon = "_static/beam.svg"
html_theme_options = {
    "light_logo": "beam.svg",
    "dark_logo": "beam.svg",
    "light_css_variables": {"color-brand-primary": "#0b6a8f", "color-brand-content": "#0b6a8f"},
    "dark_css_variables": {"color-brand-primary": "#6cc3e6", "color-brand-content": "#6cc3e6"},
}

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "backreferences_dir": "auto_gallery/backreferences",
    "doc_module": ("counterpoise",),
    "filename_pattern": r"\.py$",
    "subsection_order": ["gallery/weights", "gallery/ratios", "gallery/training"],
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("figures.scrape",),
    "reset_modules": ("figures.reset",),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 600,
    "thumbnail_size": (400, 280),
}
warnings.filterwarnings("ignore", category=UserWarning, message=".*FigureCanvasAgg is non-interactive.*")
figures.reset(sphinx_gallery_conf, "")
