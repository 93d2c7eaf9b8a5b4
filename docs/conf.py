"""The documentation site: `make docs` builds it, offline, with warnings as errors."""

import re

from docutils import nodes  # type: ignore[import-untyped]
from pygments.lexers.special import TextLexer  # type: ignore[import-untyped]
from pygments.lexers.sql import PostgresLexer  # type: ignore[import-untyped]
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from worker.version import __version__

project = "rudder-worker"
author = "the authors of rudder-worker"
project_copyright = "the authors of rudder-worker; Apache-2.0"
release = __version__

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
nitpicky = True

myst_heading_anchors = 3  # as GitHub does, so that links work in both
myst_links_external_new_tab = False

html_theme = "furo"
html_title = f"rudder-worker {__version__}"
html_copy_source = False
html_show_sphinx = False

_ANCHOR = re.compile(r'<a id="([a-z0-9-]+)">')


class HtmlAnchors(SphinxTransform):
    """Makes each `<a id="…"></a>` of a page a target of Markdown links.

    GitHub links to such anchors; MyST's own `(name)=` targets are visible text there.
    """

    default_priority = 800  # before MyST resolves `[text](#anchor)`, at 879

    def apply(self, **_kwargs: object) -> None:
        slugs = self.env.metadata[self.env.docname].get("myst_slugs", {})
        for raw in self.document.findall(nodes.raw):
            for anchor in _ANCHOR.findall(raw.astext()):
                slugs[anchor] = (raw.line or 0, anchor, anchor)


def setup(app: Sphinx) -> None:
    app.add_transform(HtmlAnchors)
    # Diagrams: GitHub draws them. mermaid.js is 3 MB that a browser would fetch from elsewhere, so the site shows the
    # text of a diagram, which is readable, and the page says the same in a list or a table.
    app.add_lexer("mermaid", TextLexer)
    app.add_lexer("sql", PostgresLexer)  # the usual one takes the parameters of PostgreSQL, `$1`, for an error
