"""The documentation: ``sphinx-build -W docs docs/_build``."""

from __future__ import annotations

import inspect
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

import softstep
from softstep.cli.arguments import make_parser

project = "softstep"
author = "The softstep developers"
version = release = softstep.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"softstep {release}"

# Tutorials are written by render.py and not run here.
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

default_role = "py:obj"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False


class CommandHelp(SphinxDirective):
    """``softstep-help:: train`` shows what ``softstep train --help`` prints."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the text as a block."""
        commands: Any = make_parser()._subparsers
        parser = commands._group_actions[0].choices[self.arguments[0]]
        text = parser.format_help()
        return [nodes.literal_block(text, text, language="text")]


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Find `SGD` and ``softstep.SGD``, as docstrings write them, wherever they are defined."""
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"].removeprefix("softstep.")
    found = getattr(softstep, name.partition(".")[0], None)
    if not inspect.isclass(found) and not inspect.isfunction(found):
        return None
    domain = env.get_domain("py")
    known: list[str] = list(domain.objects)  # type: ignore[attr-defined]
    full = min((one for one in known if one.endswith(f".{name}")), key=len, default=None)
    if full is None:
        return None
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, "obj", full, pending_xref("", refspecific=False), content
    )


def setup(app: Sphinx) -> None:
    """Register what is defined above."""
    app.add_directive("softstep-help", CommandHelp)
    app.connect("missing-reference", resolve)
