"""`stepstream simulate`: the simulator on a port, until it is interrupted."""

from collections.abc import Sequence
from typing import Final

import anyio

from stepstream.cli.exits import UsageError
from stepstream.cli.output import write_line
from stepstream.simulator import FAULTS, SCENARIOS, app, serve

THREAD: Final = "thread_1"


async def simulate(
    *, port: int, scenario: str, seed: int | None, pace: str, faults: Sequence[str], api_key: str | None
) -> None:
    """Serve the simulator on `port` of 127.0.0.1, or on a free one where that is 0, and write how to use it.

    Raises:
        UsageError: a scenario, pace or fault is not known.
        OSError: the port is taken.
    """
    try:
        application = app(scenario=scenario, seed=seed, pace=pace, fault=faults, api_key=api_key)
    except ValueError as exc:
        raise UsageError(str(exc)) from exc
    async with serve(application, port=port) as base_url:
        for line in guide(base_url, scenario, keyed=api_key is not None):
            write_line(line)
        await anyio.sleep_forever()


async def list_choices() -> None:
    """Write what scenarios and faults there are."""
    write_line("scenarios:")
    for name, story in SCENARIOS.items():
        write_line(f"  {name:20}{story.summary}")
    write_line("faults:")
    for name, fault in FAULTS.items():
        number = "" if fault.default is None else f" (N is {fault.default} unless given)"
        write_line(f"  {name + ('' if fault.default is None else '=N'):20}{fault.summary}{number}")


def guide(base_url: str, scenario: str, *, keyed: bool) -> list[str]:
    """Return what to type next, in lines."""
    key = " -H 'Authorization: Bearer KEY'" if keyed else ""
    runs = f"{base_url}/v1/threads/{THREAD}/runs"
    post = f"curl -sN{key} -H 'Content-Type: application/json'"
    body = """-d '{"assistant_id": "asst_1", "stream": true}'"""
    other = next(name for name in SCENARIOS if name != scenario)
    return [
        f"simulator at {base_url}, scenario {scenario}: Ctrl-C ends it",
        "",
        "  # open a response",
        f'  {post} -d \'{{"input": "Which shops?", "stream": true}}\' {base_url}/v1/responses',
        "  # open a run",
        f"  {post} {body} {runs}",
        "  # show one that needs no answers",
        f"  {post} {body} '{runs}?scenario=code' | stepstream watch -",
        "  # another scenario, cut after 20 events",
        f"  {post} {body} '{runs}?scenario={other}&fault=cut-event=20' | stepstream check -",
        "  # what the server says of its runs",
        f"  curl -s{key} {runs}",
        "",
        f"scenarios: {', '.join(SCENARIOS)}",
        f"faults: {', '.join(FAULTS)}",
        "what each does: stepstream simulate --list",
    ]
