"""Hook of mkdocs: pages that live outside docs/ (model cards, data, notebooks, changelog).

They keep their place in the site, and pages of docs/ theirs without "docs/"; relative links, which
are right in the checkout, follow.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_PATTERNS = ("CHANGELOG.md", "data/README.md", "weights/*/*.md", "notebooks/[0-9]*.ipynb")
_LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)")
_HREF = re.compile(r'(?<=href=")(?!\w+:)([^"#]+)')


@event_priority(100)  # before what turns notebooks into pages
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    root = Path(config.config_file_path).parent
    for path in sorted(p for pattern in _PATTERNS for p in root.glob(pattern)):
        uri = path.relative_to(root).as_posix()
        files.append(File(uri, str(root), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let the links of Markdown follow."""
    return _LINK.sub(lambda found: _follow(found[1], page.file), markdown)


def on_page_content(html: str, page: Page, files: Files, **_: Any) -> str:
    """Let the links of notebooks follow, which mkdocs itself leaves as they are."""
    if not page.file.src_uri.endswith(".ipynb"):
        return html

    def target(found: re.Match[str]) -> str:
        link = _follow(found[1], page.file)
        uri = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), link))
        other = files.get_file_from_path(uri)
        return other.url_relative_to(page.file) if other else found[1]

    return _HREF.sub(target, html)


def _follow(link: str, file: File) -> str:
    """Turn a link that is right in the checkout into one that is right in the site."""
    outside = file.src_uri.split("/")[0] in {pattern.split("/")[0] for pattern in _PATTERNS}
    here = posixpath.dirname(file.src_uri if outside else f"docs/{file.src_uri}")
    target = posixpath.normpath(posixpath.join(here, link))
    return posixpath.relpath(target.removeprefix("docs/"), posixpath.dirname(file.src_uri) or ".")
