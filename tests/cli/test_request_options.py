"""How a URL is asked by the commands that read one: method, body, headers and key from the command line."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from stepstream.simulator import app, serve

COMMANDS = [["watch"], ["cat"], ["record", "-o", "saved.sse"], ["check"]]
each_command = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])


@pytest.fixture
def echo() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that notes what it is asked with. Yields its URL, and what it noted."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked.append({"method": self.command, "headers": headers, "body": body})
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b"event: done\ndata: [DONE]\n\n")

        do_GET = do_POST = do_PUT = answer

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/runs", asked
        listening.shutdown()
        thread.join()


Echo = tuple[str, list[dict[str, Any]]]


@each_command
def test_url_is_asked_with_what_is_told(
    run: Callable[..., Any], command: list[str], echo: Echo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    url, asked = echo
    whole = 7 if command == ["check"] else 0  # what it is answered with is a stream without a run
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OUR_KEY", "sk-1")
    (tmp_path / "body.json").write_text('{"stream": true}')
    assert run(*command, url).status == whole
    assert (
        run(
            *command,
            url,
            "--json",
            '{"a": 1}',
            "--header",
            "X-Own: 1",
            "--header",
            "X-Two:2",
            "--header",
            "Idempotency-Key: 7",
        ).status
        == whole
    )
    assert run(*command, url, "--method", "put", "--json", f"@{tmp_path / 'body.json'}").status == whole
    assert run(*command, url, "--api-key-env", "OUR_KEY").status == whole
    assert run(*command, url, "--api-key-env", "api-key:OUR_KEY").status == whole
    assert [one["method"] for one in asked] == ["GET", "POST", "PUT", "GET", "GET"]
    assert [json.loads(one["body"]) for one in asked[1:3]] == [{"a": 1}, {"stream": True}]
    assert (asked[1]["headers"]["x-own"], asked[1]["headers"]["x-two"]) == ("1", "2")
    assert asked[3]["headers"]["authorization"] == "Bearer sk-1"
    assert asked[4]["headers"]["api-key"] == "sk-1"


@each_command
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["http://127.0.0.1:1", "--json", "{"], "expected JSON after --json"),
        (["http://127.0.0.1:1", "--json", "@/nowhere"], "/nowhere: No such file or directory"),
        (["http://127.0.0.1:1", "--header", "nothing"], "expected a header as 'Name: value'"),
        (["http://127.0.0.1:1", "--header", "Authorization: Bearer sk-1"], "no key on the command line"),
        (["http://127.0.0.1:1", "--header", "API-Key: sk-1"], "expected --api-key-env API-Key:VARIABLE"),
        (["http://127.0.0.1:1", "--header", "X-Access-Token: sk-1"], "expected --api-key-env X-Access-Token:VARIABLE"),
        (["http://127.0.0.1:1", "--api-key-env", "NO_SUCH_KEY"], "the environment variable NO_SUCH_KEY"),
        (["http://127.0.0.1:1", "--api-key-env", "sk-1"], "expected the name of an environment variable"),
        (["http://127.0.0.1:1", "--api-key-env", "api-key:sk-1"], "expected the name of an environment variable"),
        (["http://127.0.0.1:1", "--header", "é: b"], "expected letters, digits and hyphens as the name of a header"),
        (["http://127.0.0.1:1", "--api-key-env", "KEY_WITH_LINE_END"], "printable ASCII as the value of the header"),
        (["http://127.0.0.1:1", "--method", "GE T"], "expected method as a word, such as POST, got 'GE T'"),
        (["http://127.0.0.1:1", "--json", "[NaN]"], "expected JSON after --json"),
        (["x.sse", "--method", "POST"], "are for a URL"),
        (["-", "--header", "A: b"], "are for a URL"),
    ],
)
def test_request_that_cannot_be_made_is_wrong_usage(
    run: Callable[..., Any],
    command: list[str],
    arguments: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEY_WITH_LINE_END", "sk-1\n")
    got = run(*command, *arguments)
    assert got.status == 2
    assert told in got.error
    assert "sk-1" not in got.error
    assert list(tmp_path.iterdir()) == []


def test_authenticated_run_is_recorded(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("OUR_KEY", "sk-1")
    output, body = tmp_path / "run.sse", '{"assistant_id": "asst_1", "stream": true}'
    server = serve(app(scenario="code", pace="fast", api_key="sk-1"))
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(server) as url:
        request = (f"{url}/v1/threads/t/runs?sig=s3cret", "--json", body)
        refused = run("record", *request, "-o", output)
        assert (refused.status, output.exists()) == (5, False)
        saved = run("record", *request, "--api-key-env", "OUR_KEY", "-o", output)
        assert (saved.status, saved.err) == (0, b"")
        assert run("check", *request, "--api-key-env", "OUR_KEY").status == 0
        steps = run("cat", *request, "--api-key-env", "OUR_KEY").lines
    assert [one["type"] for one in run("cat", output).lines] == [one["type"] for one in steps]
    assert not any(secret in output.read_bytes() for secret in (b"sk-1", b"s3cret", b"127.0.0.1"))
