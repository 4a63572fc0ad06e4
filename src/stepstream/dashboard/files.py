"""The files of the page, as they lie in the package."""

import hashlib
from importlib.resources import files
from typing import Final, NamedTuple

TYPES: Final = {
    "index.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""What the page consists of."""


class PageFile(NamedTuple):
    """A file of the page."""

    data: bytes
    content_type: str
    etag: str


def page_files(*, has_login: bool = False) -> dict[str, PageFile]:
    """Return the files of the page by name: with `has_login`, of one that can be left again."""
    folder = files("stepstream.dashboard") / "page"
    found = {}
    for name, content_type in TYPES.items():
        data = (folder / name).read_bytes()
        if has_login:
            data = data.replace(b' id="leave" hidden', b' id="leave"')
        found[name] = PageFile(data, content_type, f'"{hashlib.sha256(data).hexdigest()[:20]}"')
    return found
