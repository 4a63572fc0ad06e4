"""The README of the tools is run: each block of Python prints the block of text after it."""

import re
import subprocess
import sys

import pytest

from tests.support.places import ROOT

README = (ROOT / "src" / "stepstream" / "client" / "tools" / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)


def test_each_block_of_python_is_an_example_with_its_output():
    assert README.count("```python") == len(EXAMPLES) >= 2


@pytest.mark.parametrize(("program", "printed"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_example_prints_what_stands_below_it(program: str, printed: str):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == printed
