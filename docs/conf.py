"""How Sphinx builds these pages."""

import pkgutil
from typing import Any

from docutils.nodes import Node
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer

import statuslookup
import statuslookup.fleet
import statuslookup.sandbox

project = "statuslookup"
release = statuslookup.__version__
html_title = f"statuslookup {release}"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_copyright = False
html_show_sourcelink = False
html_show_sphinx = False
pygments_dark_style = "monokai"
exclude_patterns = ["_build"]
maximum_signature_line_length = 88

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"

PUBLIC_NAMES = [*statuslookup.__all__, *statuslookup.errors.__all__]

# Every name of this package leads to its entry. Other packages' names and type variables have none.
nitpick_ignore_regex = [("py:.*", r"(?!statuslookup\b).*"), ("py:.*", r"statuslookup\..*T")]


def lead_to_public_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Node) -> Any:
    """Lead a name that a signature spells by its private home to the place from which users import it."""
    name = node["reftarget"].rpartition(".")[2]
    if name not in PUBLIC_NAMES:
        return None
    domain = env.domains.python_domain
    target = f"statuslookup.{name}"
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], target, node, text)


def show_docstrings_of_attributes() -> None:
    """Show autodoc the strings below attributes, which stand in the private homes of the public names."""
    modules = pkgutil.walk_packages(statuslookup.__path__, "statuslookup.")
    homes = [ModuleAnalyzer.for_module(module.name) for module in modules]
    for package in (statuslookup, statuslookup.fleet, statuslookup.providers, statuslookup.sandbox):
        public = ModuleAnalyzer.for_module(package.__name__)
        public.analyze()
        for home in homes:
            home.analyze()
            for place, docstring in home.attr_docs.items():
                if set(place) & set(package.__all__):
                    public.attr_docs[place] = docstring
            public.tagorder = home.tagorder | public.tagorder


def hide_signature_of_protocol(
    app: Sphinx, what: str, name: str, obj: Any, *_: Any
) -> tuple[str, str] | None:
    """Show no arguments where nobody makes an instance: of a protocol."""
    return ("", "") if what == "class" and getattr(obj, "_is_protocol", False) else None


def name_language(app: Sphinx, page: str, template: str, context: dict[str, Any], *_: Any) -> None:
    """Say in which language a page is, for screen readers and browsers that translate."""
    context["language"] = {"pt-br": "pt-BR"}.get(page, context["language"])


def setup(app: Sphinx) -> None:
    show_docstrings_of_attributes()
    app.connect("html-page-context", name_language)
    app.connect("missing-reference", lead_to_public_name)
    app.connect("autodoc-process-signature", hide_signature_of_protocol)
