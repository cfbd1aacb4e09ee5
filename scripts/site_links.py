"""Hook of MkDocs for links of a page to files of the repository that are not on the site: GitHub follows them.

Those to datasets.md, metrics.md and CHANGELOG.md lead to their pages; of others the site shows text and path.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>\.\./[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
_PAGES = {"datasets.md": "data_sets.md", "metrics.md": "metrics.md", "CHANGELOG.md": "changes.md"}


def rewritten(markdown: str, page: str) -> str:
    """The text of `page` (its path below docs/) with such links rewritten."""
    folder = posixpath.dirname(page)

    def replace(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", folder, link["target"]))
        if path.startswith("docs/"):
            return link[0]
        if path in _PAGES:
            return f"[{link['text']}]({posixpath.relpath(_PAGES[path], folder or '.')}{link['anchor'] or ''})"
        return link["text"] if path in link["text"] else f"{link['text']} (`{path}`)"

    return _LINK.sub(replace, markdown)


def on_page_markdown(markdown: str, *, page: Any, **kwargs: Any) -> str:
    """Called by MkDocs for each page."""
    return rewritten(markdown, page.file.src_uri)
