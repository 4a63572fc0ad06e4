"""What the page is made of: few bytes, nothing of others, nothing inline."""

import re
from html.parser import HTMLParser

from stepstream.dashboard.files import TYPES, page_files

FILES = {name: file.data.decode() for name, file in page_files().items()}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.inline = ""
        self._tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self._tag in ("script", "style"):
            self.inline += data.strip()


def test_page_has_less_than_60_kb_in_all():
    assert FILES.keys() == TYPES.keys()
    assert sum(len(text.encode()) for text in FILES.values()) < 60_000


def test_nothing_stands_inline_and_nothing_comes_from_elsewhere():
    tags = Tags()
    tags.feed(FILES["index.html"])
    assert tags.inline == ""
    assert [name for _, name, _ in tags.attributes if name.startswith("on") or name == "style"] == []
    loaded = {value for _, name, value in tags.attributes if name in ("src", "href")}
    assert loaded == {"page.js", "page.css", "icon.svg"}
    for name in ("page.js", "page.css"):
        assert re.findall(r"https?:|//[\w.]+/|@import|url\(|innerHTML|insertAdjacentHTML|\beval\b", FILES[name]) == []
