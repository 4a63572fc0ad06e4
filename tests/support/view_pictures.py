"""The pictures of the live view: what it shows of the simulator's runs, at a fixed seed and by a fixed clock.

    python -m tests.support.view_pictures

draws them all anew: the README's picture, and the screens that tests compare. What has changed, `git diff` shows.
"""

import heapq
import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from rich.console import Console
from rich.style import Style
from rich.text import Text

from stepstream import Accumulator, Frame
from stepstream.cli.demo import WEATHER
from stepstream.cli.screen.paint import Painter
from stepstream.cli.screen.render import render
from stepstream.cli.screen.summary import summary
from stepstream.fold.anomalies import Anomaly
from stepstream.simulator.pace import REAL
from stepstream.simulator.responses.objects import SETTINGS
from stepstream.simulator.responses.response import Asked, new_response
from stepstream.simulator.responses.script import Start
from stepstream.simulator.runs import Run, new_run
from stepstream.simulator.scenarios import SCENARIOS
from stepstream.views.builder import ViewBuilder
from stepstream.views.model import ScreenView, Theme
from tests.support.places import PICTURES

README_PICTURE = PICTURES / "demo.svg"
SCREENS = PICTURES / "screens"
WIDTHS = (40, 80, 200)
HEIGHT = 24
AT = 1_800_000_000
THINKING = 0.9
"""Seconds that the client takes for its outputs."""

LOOKS = 15


class Scene(NamedTuple):
    """Runs of scenarios, each with the second at which it begins, looked at until `until`."""

    scenarios: tuple[tuple[str, float], ...]
    until: float
    theme: Theme = Theme()
    selected: str | None = None
    is_paused: bool = False
    answers: bool = True
    is_response: bool = False


class Seen(NamedTuple):
    """What was to be seen at last, by which clock, and what was against the protocol."""

    picture: ScreenView
    now: float
    anomalies: Mapping[str, int]


SCENES = {
    "running": Scene((("umbrellas", 0.0),), 2.0),
    "writing": Scene((("umbrellas", 0.0),), 7.7),
    "parallel": Scene((("parallel-functions", 0.0),), 1.7),
    "requires-action": Scene((("umbrellas", 0.0),), 60.0, answers=False),
    "failed-step": Scene((("step-failed", 0.0),), 60.0),
    "failed-run": Scene((("run-failed", 0.0),), 60.0),
    "incomplete": Scene((("incomplete", 0.0),), 60.0),
    "two-runs": Scene((("umbrellas", 0.0), ("two-steps", 2.2)), 4.4),
    "no-colour": Scene((("umbrellas", 0.0),), 7.7, Theme(colour=False)),
    "ascii": Scene((("umbrellas", 0.0), ("two-steps", 2.2)), 4.4, Theme(unicode=False)),
    "redacted": Scene((("umbrellas", 0.0),), 7.7, Theme(redact=True)),
    "paused": Scene((("umbrellas", 0.0),), 7.7, selected="step_sim7x1_1", is_paused=True),
}


def played(scenario: str, number: int, *, answers: bool = True) -> Iterator[tuple[float, Frame]]:
    """Yield the frames of a run, each with its second, the outputs that it asks for given."""
    run = new_run(
        number,
        SCENARIOS[scenario],
        thread_id="thread_1",
        assistant_id="asst_1",
        settings={"model": "sim-large"},
        at=AT,
        seed=7,
        pace=REAL,
    )
    at, stream = 0.0, run.begin(0.0)
    while True:
        while (beat := stream.next_event(at)) is not None:
            at += beat.delay
            yield at, beat.frame
        if run.status != "requires_action" or not answers:
            return
        at += THINKING
        stream = run.submit(outputs(run), AT + at, at)


def played_responses(scenario: str) -> Iterator[tuple[float, Frame]]:
    """Yield the frames of the same in the other API, its functions answered."""
    at, start, number, settings = 0.0, Start(), 1, {**SETTINGS, "model": "sim-large"}
    while True:
        response = new_response(
            number, SCENARIOS[scenario], Asked(settings, [], True), start, at=AT + at, seed=7, pace=REAL
        )
        stream = response.begin(at)
        while (beat := stream.next_event(at)) is not None:
            at += beat.delay
            yield at, beat.frame
        waiting = response.script.waiting
        if waiting is None:
            return
        at += THINKING
        number, start = number + 1, waiting.start({})
        settings = {**settings, "previous_response_id": response.id}


def outputs(run: Run) -> dict[str, str | bool | None]:
    """Return what the demo answers."""
    action = run.object()["required_action"]
    calls = action[action["type"]]["tool_calls"]
    cities = {call["id"]: json.loads(call["function"]["arguments"]).get("city") for call in calls}
    return {identifier: WEATHER.get(city, "calm") for identifier, city in cities.items()}


def frames_of(scene: Scene, scenario: str, number: int) -> Iterator[tuple[float, Frame]]:
    return played_responses(scenario) if scene.is_response else played(scenario, number, answers=scene.answers)


def seen(scene: Scene) -> Seen:
    """Play a scene, and look at it as often as the view does."""
    streams = [
        [(begin + at, number, frame) for at, frame in frames_of(scene, scenario, number)]
        for number, (scenario, begin) in enumerate(scene.scenarios, 1)
    ]
    accumulator = Accumulator()
    builder = ViewBuilder(accumulator.state, scene.theme, "the simulator")
    look, now = 0, 0.0
    for at, _, frame in heapq.merge(*streams, key=lambda entry: entry[:2]):
        if at > scene.until:
            break
        while look / LOOKS < at:
            now = look / LOOKS
            builder.build(AT + now)
            look += 1
        for change in accumulator.apply_frame(frame):
            if isinstance(change, Anomaly):
                builder.anomalies[change.code] += 1
    picture = builder.build(AT + now + 1 / LOOKS, selected=scene.selected)
    return Seen(msgspec.structs.replace(picture, is_paused=scene.is_paused), AT + now + 1 / LOOKS, builder.anomalies)


def screen(scene: Scene, width: int) -> str:
    """Return what the terminal shows; for the scene without colours its escape sequences too, as they are written."""
    picture, now, _ = seen(scene)
    lines = render(picture, width, HEIGHT, now)
    if picture.theme.colour:
        return "".join(f"{line.plain}\n" for line in lines)
    return with_escapes(picture.theme, lines)


def with_escapes(theme: Theme, lines: list[Text]) -> str:
    painter = Painter(theme)
    return "".join(f"{painter.painted(line)}\n" for line in lines).replace("\x1b", "␛")


def table(scene: Scene, width: int) -> str:
    """Return the summary of a scene."""
    picture, now, anomalies = seen(scene)
    return "".join(f"{line.plain}\n" for line in summary(picture, anomalies, "done: how it ended", width, now))


def screens() -> dict[str, str]:
    """Return every screen by the name of its file."""
    drawn = {f"{name}-{width}.txt": screen(scene, width) for name, scene in SCENES.items() for width in WIDTHS}
    tables = ("writing", "failed-step", "failed-run", "incomplete", "two-runs")
    over = {name: SCENES[name]._replace(until=60.0) for name in tables}
    drawn |= {f"summary-{name}-{width}.txt": table(over[name], width) for name in tables for width in WIDTHS[:2]}
    coloured = seen(SCENES["writing"])
    drawn["colour-80.txt"] = with_escapes(Theme(), render(coloured.picture, 80, HEIGHT, coloured.now))
    return drawn


def readme_lines() -> list[Text]:
    """Return the lines of the README's picture: the demo, in the middle of its answer."""
    picture, now, _ = seen(Scene((("umbrellas", 0.0),), 7.2, is_response=True))
    return render(picture, 80, 14, now)


def readme_picture() -> str:
    """Return the README's picture. Its fonts are the reader's: it loads nothing."""
    console: Any = Console(record=True, width=80, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    for line in readme_lines():
        apart = line.copy()
        for words in re.finditer(r"\S+", line.plain):  # spaces before a word are not drawn everywhere
            apart.stylize(Style(meta={"word": True}), *words.span())
        console.print(apart, no_wrap=True, crop=True)
    svg: str = console.export_svg(title="stepstream demo", unique_id="stepstream")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def main() -> None:
    SCREENS.mkdir(exist_ok=True)
    for name, text in screens().items():
        (SCREENS / name).write_text(text, encoding="utf-8")
    README_PICTURE.write_text(readme_picture(), encoding="utf-8")


if __name__ == "__main__":
    main()
