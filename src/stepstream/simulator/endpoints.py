"""The calls of the Assistants API: each takes a request and returns an object, or the stream that was asked for."""

from collections.abc import Mapping
from typing import Final

from stepstream.simulator.api import Api
from stepstream.simulator.bodies import Answers, NewMessage, NewRun, NewThread
from stepstream.simulator.course import Stream
from stepstream.simulator.pagination import page
from stepstream.simulator.requests import ApiRequest, Refusal
from stepstream.simulator.routing import Reply, Routes, pattern
from stepstream.simulator.runs import Run
from stepstream.simulator.threads import Thread


def _stream_or_run(run: Run, stream: Stream, *, is_wanted: bool | None) -> Reply:
    """Return a stream, or where none was asked for, its run, which goes on alone."""
    if is_wanted:
        return stream
    stream.leave()
    return run.object()


def create_thread(api: Api, request: ApiRequest) -> Reply:
    """Answer `POST /threads`."""
    return _thread(api, request.decode(NewThread), api.now).object


def _thread(api: Api, new: NewThread, at: float) -> Thread:
    thread = api.threads.create(at, metadata=new.metadata, resources=new.tool_resources)
    for message in new.messages:
        api.add_message(thread, message, at)
    return thread


def retrieve_thread(api: Api, request: ApiRequest) -> Reply:
    """Answer `GET /threads/{thread}`."""
    return api.thread(request).object


def create_message(api: Api, request: ApiRequest) -> Reply:
    """Answer `POST /threads/{thread}/messages`."""
    new = request.decode(NewMessage)
    return api.add_message(api.threads.use(request.ids["thread"], api.now), new, api.now)


def list_messages(api: Api, request: ApiRequest) -> Reply:
    """Answer `GET /threads/{thread}/messages`, of one run where the query has `run_id`."""
    run_id = request.query.get("run_id")
    messages = [read() for read in _caught_up(api, api.thread(request)).messages.values()]
    return page([one for one in messages if run_id in (None, one["run_id"])], request.query)


def retrieve_message(api: Api, request: ApiRequest) -> Reply:
    """Answer `GET /threads/{thread}/messages/{message}`."""
    read = _caught_up(api, api.thread(request)).messages.get(request.ids["message"])
    if read is None:
        raise Refusal(404, f"no message found with id {request.ids['message']!r:.80}", param="message_id")
    return read()


def _caught_up(api: Api, thread: Thread) -> Thread:
    """Return the thread with its runs moved to the present."""
    for run in thread.runs.values():
        run.catch_up(api.clock())
    return thread


def create_run(api: Api, request: ApiRequest) -> Reply:
    """Answer `POST /threads/{thread}/runs`."""
    new, options = request.decode(NewRun), api.options(request)
    thread = api.threads.use(request.ids["thread"], api.at(options.seed))
    run = api.open_run(request, new, options, thread)
    return _stream_or_run(run, run.begin(api.clock()), is_wanted=new.stream)


def create_thread_and_run(api: Api, request: ApiRequest) -> Reply:
    """Answer `POST /threads/runs`."""
    new, options = request.decode(NewRun), api.options(request)
    thread = _thread(api, new.thread or NewThread(), api.at(options.seed))
    run = api.open_run(request, new, options, thread)
    return _stream_or_run(run, run.begin(api.clock(), new_thread=thread.object), is_wanted=new.stream)


def list_runs(api: Api, request: ApiRequest) -> Reply:
    """Answer `GET /threads/{thread}/runs`."""
    return page([run.object() for run in _caught_up(api, api.thread(request)).runs.values()], request.query)


def retrieve_run(api: Api, request: ApiRequest) -> Reply:
    """Answer `GET …/runs/{run}`."""
    return api.run(request).object()


def cancel_run(api: Api, request: ApiRequest) -> Reply:
    """Answer `POST …/runs/{run}/cancel`."""
    run = api.run(request)
    try:
        run.cancel(api.now, api.clock())
    except ValueError as exc:
        raise Refusal(400, str(exc)) from exc
    return run.object()


def submit_tool_outputs(api: Api, request: ApiRequest) -> Reply:
    """Answer `POST …/runs/{run}/submit_tool_outputs`: outputs of function calls, or approvals of MCP calls."""
    answers = request.decode(Answers)
    run = api.run(request)
    if (answers.tool_outputs is None) == (answers.tool_approvals is None):
        raise Refusal(400, "expected either tool_outputs or tool_approvals", param="tool_outputs")
    given: Mapping[str, str | bool | None] = {
        **{one.tool_call_id: one.output for one in answers.tool_outputs or ()},
        **{one.tool_call_id: one.approve for one in answers.tool_approvals or ()},
    }
    param = "tool_approvals" if answers.tool_outputs is None else "tool_outputs"
    if len(given) < len(answers.tool_outputs or ()) + len(answers.tool_approvals or ()):
        raise Refusal(400, "expected one answer a call, got two for the same one", param=param)
    try:
        stream = run.submit(given, api.now, api.clock())
    except ValueError as exc:
        raise Refusal(400, str(exc), param=param) from exc
    return _stream_or_run(run, stream, is_wanted=answers.stream)


def list_steps(api: Api, request: ApiRequest) -> Reply:
    """Answer `GET …/runs/{run}/steps`."""
    return page(api.run(request).steps(), request.query)


def retrieve_step(api: Api, request: ApiRequest) -> Reply:
    """Answer `GET …/runs/{run}/steps/{step}`."""
    for step in api.run(request).steps():
        if step["id"] == request.ids["step"]:
            return step
    raise Refusal(404, f"no run step found with id {request.ids['step']!r:.80}", param="step_id")


_RUN: Final = "/threads/{thread}/runs/{run}"

ROUTES: Final[Routes] = {
    pattern("/threads"): {"POST": create_thread},
    pattern("/threads/runs"): {"POST": create_thread_and_run},
    pattern("/threads/{thread}"): {"GET": retrieve_thread},
    pattern("/threads/{thread}/messages"): {"POST": create_message, "GET": list_messages},
    pattern("/threads/{thread}/messages/{message}"): {"GET": retrieve_message},
    pattern("/threads/{thread}/runs"): {"POST": create_run, "GET": list_runs},
    pattern(_RUN): {"GET": retrieve_run},
    pattern(f"{_RUN}/cancel"): {"POST": cancel_run},
    pattern(f"{_RUN}/submit_tool_outputs"): {"POST": submit_tool_outputs},
    pattern(f"{_RUN}/steps"): {"GET": list_steps},
    pattern(f"{_RUN}/steps/{{step}}"): {"GET": retrieve_step},
}
