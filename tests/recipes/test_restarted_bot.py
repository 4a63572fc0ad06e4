"""The bot that is killed: whatever the moment, each effect is there once."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from stepstream.simulator.application import app
from tests.recipes.test_recipes import RECIPES
from tests.support.chat_platform import answer_lifespan
from tests.support.programs import served

RECIPE = "restarted_bot"
WITHIN = 60


class Platform:
    """Takes posts, each nonce once, hands out what users wrote, and refuses every so many requests."""

    def __init__(self, *, refuses_every: int) -> None:
        self.updates: list[dict[str, Any]] = []
        self.posts: dict[str, dict[str, str]] = {}
        """By channel: what was posted, by its nonce."""
        self.doubled = self._requests = 0
        self._refuses_every = refuses_every

    def write(self, channel: str, text: str) -> None:
        self.updates.append({"id": len(self.updates) + 1, "channel": channel, "text": text})

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self._requests += 1
        status, answer = 200, [*self._new(scope)] if scope["method"] == "GET" else []
        if self._requests % self._refuses_every == 0:
            status = random.choice([429, 503])
        elif scope["method"] == "POST":
            self._take(scope["path"].split("/")[2], json.loads(body))
        headers = [(b"retry-after", b"0.1"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    def _new(self, scope: Mapping[str, Any]) -> list[dict[str, Any]]:
        after = int(parse_qs(scope["query_string"].decode())["after"][0])
        return [one for one in self.updates if one["id"] > after]

    def _take(self, channel: str, post: dict[str, str]) -> None:
        taken = self.posts.setdefault(channel, {})
        self.doubled += post["nonce"] in taken  # it is not shown again
        taken[post["nonce"]] = post["text"]


@contextmanager
def bot(environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run the recipe in a process of its own, until it is killed."""
    running = subprocess.Popen([sys.executable, str(RECIPES[RECIPE])], env={**os.environ, **environment})
    try:
        yield running
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()


def truth(url: str, updates: list[dict[str, Any]]) -> dict[str, list[str]] | None:
    """Return what is to be posted in each channel, by the server; None while a run goes on or was not opened."""
    expected: dict[str, list[str]] = {}
    with httpx.Client(base_url=f"{url}/v1/threads", trust_env=False) as client:
        for update in updates:
            if update["text"] == "stop":
                continue
            thread = f"thread_{update['channel']}_{update['id']}"
            runs = client.get(f"/{thread}/runs").json().get("data", [])
            if len(runs) != 1 or runs[0]["status"] in ("queued", "in_progress", "cancelling"):
                assert len(runs) < 2  # a job opens one run
                return None
            steps = client.get(f"/{thread}/runs/{runs[0]['id']}/steps").json()["data"]
            told = [f"{step['type']} {step['status']}" for step in steps if step["status"] != "in_progress"]
            expected.setdefault(update["channel"], []).extend([*told, f"run {runs[0]['status']}"])
    return expected


def posted(platform: Platform) -> dict[str, list[str]]:
    return {channel: sorted(posts.values()) for channel, posts in platform.posts.items()}


def live_through(tmp_path: Path, *, channels: int, kills: int, seed: int, pace: float = 80) -> None:
    """Ask in each channel, say stop in some, kill the bot at random moments, and wait until all is as it should be."""
    chance, platform = random.Random(seed), Platform(refuses_every=7)
    simulated = app(scenario="code", pace=pace, fault="cut-event=6" if seed % 2 else "")
    with served(simulated) as url, served(platform) as chat_url:
        environment = {"STEPSTREAM_URL": url, "CHAT_URL": chat_url, "DATABASE": str(tmp_path / "bot.sqlite")}
        for number in range(channels):
            platform.write(f"channel{number}", "How high is the tide?")
        for _ in range(kills):
            with bot(environment):
                time.sleep(0.6 + chance.random() * 80 / pace)
            for number in chance.sample(range(channels), max(1, channels // 10)):
                platform.write(f"channel{number}", "stop")
        with bot(environment):
            deadline = time.monotonic() + WITHIN
            while time.monotonic() < deadline:
                expected = truth(url, platform.updates)
                if expected is not None and posted(platform) == {one: sorted(told) for one, told in expected.items()}:
                    break
                time.sleep(0.1)
            assert expected is not None
            assert posted(platform) == {one: sorted(told) for one, told in expected.items()}


def test_bot_that_is_killed_posts_everything_once(tmp_path: Path):
    live_through(tmp_path, channels=4, kills=1, seed=1, pace=240)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_bot_of_fifty_channels_that_is_killed_five_times_posts_everything_once(tmp_path: Path, seed: int):
    live_through(tmp_path, channels=50, kills=5, seed=seed)
