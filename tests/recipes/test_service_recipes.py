"""Recipes of services are run as they are, against servers that misbehave."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepstream.simulator.application import app
from tests.recipes.test_recipes import RECIPES
from tests.support.chat_platform import Chat
from tests.support.places import ROOT
from tests.support.programs import printed_by, served

# Ingestion


def stored(database: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what was written, by channel."""
    found: dict[str, list[dict[str, Any]]] = {}
    with closing(sqlite3.connect(database)) as connection:
        for channel, line in connection.execute("select channel, line from change order by rowid"):
            found.setdefault(channel, []).append(json.loads(line))
    return found


def check_stored(database: Path, streams: int) -> None:
    """Check that all of each stream is there, once and in order."""
    found = stored(database)
    assert len(found) == streams
    for changes in found.values():
        assert [change["sequence"] for change in changes] == sorted(change["sequence"] for change in changes)
        ends = [change["change"] for change in changes if change.get("status") == "completed"]
        assert ends == ["step_transition", "step_transition", "run_transition"]


def test_ingestion_of_streams_that_break_loses_and_doubles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    database = tmp_path / "changes.sqlite"
    monkeypatch.setenv("STREAMS", "12")
    monkeypatch.setenv("DATABASE", str(database))
    recipe = RECIPES["ingest_to_sqlite"]
    with served(app(scenario="code", pace="fast", fault="cut-event=6")) as url:
        told = printed_by(recipe.read_text(), str(recipe), tmp_path, {"STEPSTREAM_URL": url})
    check_stored(database, 12)
    assert told == ""


SLOW = "write = lambda rows, write=write: (__import__('time').sleep(0.8), write(rows))"
SINGLE = "batch=500, max_wait=0.5, "


def ingested(url: str, database: Path, streams: int, program: str) -> float:
    """Run a form of the recipe in a process of its own, and return the most memory it took, in MiB."""
    program += "\nfrom tests.support.memory_probe import peak; print(peak())"
    environment = {**os.environ, "STEPSTREAM_URL": url, "DATABASE": str(database), "STREAMS": str(streams)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    return float(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_ingestion_of_two_thousand_streams_with_a_slow_database_takes_no_more_memory_than_one_change_at_a_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    recipe = RECIPES["ingest_to_sqlite"].read_text()
    slow = recipe.replace("\n\nasync def main", f"\n\n{SLOW}\n\nasync def main", 1)
    singly = recipe.replace(SINGLE, "", 1).replace("in changes]", "in [changes]]", 1)
    assert len({recipe, slow, singly}) == 3
    with served(app(scenario="code", pace="fast")) as url:
        batches = ingested(url, tmp_path / "batches.sqlite", 2_000, slow)
        single = ingested(url, tmp_path / "single.sqlite", 2_000, singly)
    check_stored(tmp_path / "batches.sqlite", 2_000)
    with capsys.disabled():
        print(f"\npeak memory: {batches:.0f} MiB in batches, {single:.0f} MiB one by one")
    assert batches <= 1.2 * single


# A browser that leaves and comes back


def events_of(response: httpx.Response, most: int = 1_000) -> list[tuple[str, Any]]:
    """Read so many events of a stream, or to its end."""
    found: list[tuple[str, Any]] = []
    name = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            found.append((name, json.loads(line.removeprefix("data: "))))
            if len(found) == most:
                break
    return found


def test_browser_that_comes_back_gets_what_it_missed_and_the_rest(monkeypatch: pytest.MonkeyPatch):
    names: dict[str, Any] = {}
    exec(RECIPES["fastapi_reconnect"].read_text(encoding="utf-8"), names)
    with served(app(scenario="message", pace=200, fault="cut-event=9")) as simulated:
        monkeypatch.setenv("STEPSTREAM_URL", simulated)
        with served(names["api"]) as url, httpx.Client(base_url=url, trust_env=False) as browser:
            run_id = browser.post("/questions").json()["run"]
            path = f"/runs/{run_id}/events"
            with browser.stream("GET", path) as watching:
                first = events_of(watching, 3)
            with browser.stream("GET", path) as watching:
                rest = events_of(watching)
            with browser.stream("GET", path) as watching:  # the run is over
                later = events_of(watching)
            assert browser.get("/runs/run_unknown/events").status_code == 404
    text = next(data for name, data in reversed(rest) if name == "text")
    assert ("status", "completed") in rest
    assert all(text.startswith(data) for name, data in (*first, *rest) if name == "text")
    assert (dict(later), len(first)) == ({"status": "completed", "text": text}, 3)


# Dead letters


class Deaf(Chat):
    """A platform that refuses one channel until it is repaired."""

    is_repaired = False

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and "/ferry/" in scope["path"] and not self.is_repaired:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await super().__call__(scope, receive, send)


def test_dead_letters_are_kept_and_delivered_once_the_platform_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    platform, recipe = Deaf(), RECIPES["dead_letters"]
    program, letters = recipe.read_text(), tmp_path / "dead_letters.jsonl"

    def run(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", [str(recipe), *arguments])
        monkeypatch.chdir(tmp_path)
        for name, value in {"STEPSTREAM_URL": url, "CHAT_URL": chat_url}.items():
            monkeypatch.setenv(name, value)
        exec(compile(program, str(recipe), "exec"), {"__name__": "__main__"})

    with served(app(scenario="code", pace="fast")) as url, served(platform) as chat_url:
        run()
        kept = [json.loads(line) for line in letters.read_text().splitlines()]
        assert [json.loads(one["change"])["change"] for one in kept] == ["step_transition"] * 2 + ["run_transition"]
        assert all("500" in one["why"] for one in kept)
        assert (len(platform.of("harbour")), len(platform.of("ferry"))) == (3, 0)
        run("again")
        assert len(letters.read_text().splitlines()) == 3
        platform.is_repaired = True
        run("again")
    events = [text.partition(": ")[2] for text in platform.shown("ferry")]
    assert events == ["thread.run.step.completed", "thread.run.step.completed", "thread.run.completed"]
    assert letters.read_text() == ""
