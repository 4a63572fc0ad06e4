"""What the live view shows is what is kept of it: `python -m tests.support.view_pictures` draws it anew."""

import html
import re
from functools import cache

import pytest
from rich.cells import cell_len

from tests.support import view_pictures
from tests.support.tables import each_row

KEPT = sorted(path.name for path in view_pictures.SCREENS.iterdir())

screens = cache(view_pictures.screens)


@each_row("name", KEPT)
def test_screen_is_as_kept(name: str):
    assert screens().get(name) == (view_pictures.SCREENS / name).read_text(encoding="utf-8")


def test_every_screen_is_kept_and_none_that_is_not_drawn():
    assert sorted(screens()) == KEPT


def test_screen_fits():
    for name, screen in screens().items():
        if not name.startswith(("no-colour", "colour")):
            width = int(name.removesuffix(".txt").rpartition("-")[2])
            assert [line for line in screen.splitlines() if cell_len(line) > width] == [], name
            assert len(screen.splitlines()) <= view_pictures.HEIGHT, name


@pytest.mark.parametrize("width", view_pictures.WIDTHS)
def test_screen_without_colours_has_none(width: int):
    styles = set(re.findall("␛\\[([\\d;]*)m", screens()[f"no-colour-{width}.txt"]))
    assert styles == {"0", "1", "2"}  # as it was, bold, faint


@pytest.mark.parametrize("width", view_pictures.WIDTHS)
def test_screen_without_unicode_has_only_what_is_ascii(width: int):
    assert screens()[f"ascii-{width}.txt"].isascii()


@pytest.mark.parametrize("width", view_pictures.WIDTHS)
def test_redacted_screen_shows_neither_arguments_nor_outputs(width: int):
    assert re.findall("Restock|Bergen|Porto|import|hits", screens()[f"redacted-{width}.txt"]) == []


def texts(svg: str) -> list[str]:
    """Return the lines of text in a picture, without spaces: how they are written differs between versions of rich."""
    rows: dict[float, list[tuple[float, str]]] = {}
    for attributes, text in re.findall(r"<text ([^>]*)>([^<]*)</text>", svg):
        if 'clip-path="url(#stepstream-line' in attributes:
            x, y = (float(re.search(rf'\b{axis}="([\d.]+)"', attributes)[1]) for axis in "xy")  # type: ignore[index]
            rows.setdefault(y, []).append((x, html.unescape(text).replace("\xa0", " ")))
    told = ["".join("".join(text for _, text in sorted(rows[y])).split()) for y in sorted(rows)]
    return [line for line in told if line]


def test_picture_of_the_readme_shows_what_the_demo_shows():
    kept = view_pictures.README_PICTURE.read_text(encoding="utf-8")
    assert texts(kept) == texts(view_pictures.readme_picture())
    assert texts(kept) == ["".join(line.plain.split()) for line in view_pictures.readme_lines() if line.plain.strip()]


def test_picture_of_the_readme_loads_nothing():
    urls = re.findall(r"(?:https?:)?//[^\s\")]+", view_pictures.README_PICTURE.read_text(encoding="utf-8"))
    assert set(urls) <= {"http://www.w3.org/2000/svg", "https://www.textualize.io"}  # a name, and rich's in a comment
