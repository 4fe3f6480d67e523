"""The documentation site: the pages of docs/ and of the root, as they are on a code host.

The source folder is the root of the repository, so that links between pages are the same in both
places. `make docs` builds it, and any warning fails.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from site_docstrings import plain_defaults, to_restructured_text  # noqa: E402
from site_names import undocumented  # noqa: E402
from sphinx.util import logging  # noqa: E402

from lstm_fast import __version__  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

logger = logging.getLogger(__name__)

project = "lstm_fast"
author = "the lstm_fast developers"
copyright = "2026, the lstm_fast developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/api/*.rst",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "HACKING.md",
    "SECURITY.md",
    "benchmarks/NOTES.md",
]
exclude_patterns = [".*", "build", "csrc", "dist", "examples", "lstm_fast", "out", "tests"]

myst_heading_anchors = 4  # by the names that code hosts give them

default_role = "py:obj"  # `name` in a docstring is a link where that is documented, else code
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "groupwise"
autodoc_mock_imports = ["livekit", "opentelemetry", "pipecat"]  # which integrations derive from
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
# Names that are found in two places, such as an error under the module that defines it, too.
suppress_warnings = ["ref.python"]

html_theme = "furo"
pygments_style = "friendly"
pygments_dark_style = "github-dark"
html_title = f"lstm_fast {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_extra_path = ["_root"]


def add_toctrees(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put what each list of the table of contents links to into the sidebar, under its heading."""
    if docname != root_doc:
        return
    for heading, text in re.findall(r"^## (.*)\n((?:(?!## ).*\n?)*)", source[0], re.MULTILINE):
        pages = [
            f"{title.replace('`', '')} </{target.relative_to(ROOT).with_suffix('')}>"
            for title, link in re.findall(r"^- \[([^\]]*)\]\(([^)#]*)\)", text, re.MULTILINE)
            if (target := (ROOT / "docs" / link).resolve()).suffix in (".md", ".rst")
        ]
        lines = ["```{toctree}", ":hidden:", f":caption: {heading}", ""]
        source[0] += "\n".join(["", *lines, *pages, "```", ""])


def refuse_gaps(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of each public name that the reference does not have."""
    for name in undocumented(env.domains.python_domain.objects):
        logger.warning("%s is public, and no page of docs/api has it", name)


def setup(app: Sphinx) -> None:
    """Add what is ours to the build."""
    app.connect("source-read", add_toctrees)
    app.connect("autodoc-process-docstring", to_restructured_text, priority=400)
    app.connect("autodoc-process-signature", plain_defaults)
    app.connect("env-check-consistency", refuse_gaps)
