"""The clients of user interface kits as npm has them, run by Node: what they hold after reading a stream.

The variable `KIT_CLIENTS` names the folder with their `node_modules`, which `.ci/run` fills.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stepstream.wire.sse import Frame, encode_frame

PACKAGES = ("agui1", "agui0", "ai")
FOLDER = Path(os.environ.get("KIT_CLIENTS") or "no-folder")

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not all((FOLDER / "node_modules" / name).is_dir() for name in PACKAGES),
    reason="needs node, and KIT_CLIENTS to name a folder with the packages of .ci/run",
)


class Clients:
    """A process of Node that reads streams."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def read(self, kit: str, *streams: Iterable[Frame]) -> Any:
        """Return what the client of a kit holds after these streams, one after the other."""
        texts = [b"".join(map(encode_frame, stream)).decode() for stream in streams]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"kit": kit, "texts": texts}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def clients() -> Iterator[Clients]:
    """Run Node."""
    script = FOLDER / f"kit_oracle_{os.getpid()}.mjs"
    shutil.copy(Path(__file__).with_name("kit_oracle.mjs"), script)
    try:
        with subprocess.Popen(
            ["node", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            yield Clients(process)
            assert process.stdin is not None
            process.stdin.close()
    finally:
        script.unlink()
