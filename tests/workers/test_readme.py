"""The table of options in the room's README."""

import inspect
import re

from stepstream import Workers
from tests.support.places import ROOT


def test_table_of_options_is_that_of_the_code():
    text = (ROOT / "src" / "stepstream" / "workers" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|", text.partition("## Options")[2].partition("\n## ")[0], re.MULTILINE)
    options = {name: one.default for name, one in inspect.signature(Workers).parameters.items() if name != "journal"}
    assert [name for name, _ in rows] == list(options)
    told = {name: usual.strip() for name, usual in rows if usual.strip().isdecimal()}
    assert told == {name: str(usual) for name, usual in options.items() if isinstance(usual, int)}
