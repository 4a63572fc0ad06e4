"""What an editor offers after a dot, asked of a language server: the public names, and nothing of the inside."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

import stepstream
from tests.support.places import ROOT

OFFERED = {
    "stepstream.": set(stepstream.__all__),
    "stepstream.FrameDecoder().": {"feed", "last_event_id", "pending", "retry"},
    "stepstream.Toolbox().": {
        "after", "approvals", "approve", "before", "custom", "definitions", "function", "on_failure", "outputs",
    },
    "stepstream.ResponsesClient('').": {
        "attach", "cancel", "drive", "input_items", "retrieve", "stream",
    },
    "one: stepstream.Subscription = 1; one.": {
        "close", "coalesced", "delivered", "dropped", "failed", "failure", "is_closed", "name", "offered", "retried",
    },
    "three: stepstream.Workers = 1; three.": {"dead_letters", "lag", "name", "owned", "run", "takeovers"},
    "two: stepstream.ToolContext = 1; two.": {
        "call", "call_id", "context", "name", "run_id", "step_id", "thread_id",
    },
}  # fmt: skip
"""A line of code, and what is offered at its end."""


class LanguageServer:
    """The client's half of the protocol of a language server, as far as it is needed here."""

    def __init__(self, to: IO[bytes], back: IO[bytes]) -> None:
        self._to = to
        self._back = back
        self._asked = 0

    def tell(self, method: str, **params: Any) -> None:
        self._send({"method": method, "params": params})

    def ask(self, method: str, **params: Any) -> Any:
        self._asked += 1
        self._send({"id": self._asked, "method": method, "params": params})
        while True:
            message = self._receive()
            if "method" not in message and message.get("id") == self._asked:
                return message["result"]
            if "method" in message and "id" in message:
                items = message["params"].get("items") if message["method"] == "workspace/configuration" else None
                self._send({"id": message["id"], "result": None if items is None else [{} for _ in items]})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._to.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self._to.flush()

    def _receive(self) -> dict[str, Any]:
        length = 0
        while line := self._back.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        assert length, "the language server has ended"
        message: dict[str, Any] = json.loads(self._back.read(length))
        return message


@contextmanager
def language_server(folder: Path) -> Iterator[LanguageServer]:
    pyright = Path(sys.executable).with_name("pyright-langserver")
    if not pyright.exists():
        pytest.skip("pyright is not installed")
    process = subprocess.Popen(
        [pyright, "--stdio"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PATH": f"{pyright.parent}{os.pathsep}{os.environ['PATH']}"},
    )
    assert process.stdin
    assert process.stdout
    with process:
        server = LanguageServer(process.stdin, process.stdout)
        server.ask("initialize", processId=os.getpid(), rootUri=folder.as_uri(), capabilities={})
        server.tell("initialized")
        yield server
        process.terminate()


@pytest.mark.slow
def test_editor_offers_the_public_names_and_no_others():
    document = (ROOT / "tests" / "typing" / "offered.py").as_uri()  # it need not exist
    text = "\n".join(["import stepstream", *OFFERED])
    offered = {}
    with language_server(ROOT) as server:
        opened = {"uri": document, "languageId": "python", "version": 1, "text": text}
        server.tell("textDocument/didOpen", textDocument=opened)
        for number, line in enumerate(OFFERED, 1):
            position = {"line": number, "character": len(line)}
            found = server.ask("textDocument/completion", textDocument={"uri": document}, position=position)
            labels = {item["label"] for item in (found or {"items": []})["items"]}
            offered[line] = {label for label in labels if not label.startswith("_")}
    assert offered == OFFERED
