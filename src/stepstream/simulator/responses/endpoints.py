"""The calls of the Responses API: each takes a request and returns an object, or the stream that was asked for."""

from collections.abc import Mapping
from typing import Any, Final

from stepstream.simulator.api import Api
from stepstream.simulator.objects import JSON
from stepstream.simulator.pagination import page
from stepstream.simulator.requests import ApiRequest, Refusal
from stepstream.simulator.responses import objects
from stepstream.simulator.responses.bodies import NewConversation, NewItems, NewResponse
from stepstream.simulator.responses.response import Asked, Response, new_response
from stepstream.simulator.responses.script import Start
from stepstream.simulator.responses.store import Conversation
from stepstream.simulator.routing import Awaited, Reply, Routes, pattern


def create_response(api: Api, request: ApiRequest) -> Reply:
    """Answer `POST /responses`: with a stream, or with the response once it has ended, in the background at once."""
    new = request.decode(NewResponse)
    response = _open(api, request, new)
    stream = response.begin(api.clock())
    if new.stream:
        return stream
    if not response.asked.is_background:
        return Awaited(stream, response.object)
    stream.leave()
    return response.object()


def retrieve_response(api: Api, request: ApiRequest) -> Reply:
    """Answer `GET /responses/{response}`: with its stream, from where the query says, if that has `stream=true`."""
    response = _response(api, request)
    if not request.wants_stream:
        return response.object()
    after = request.query.get("starting_after", "-1")
    if not (after.removeprefix("-").isdecimal() and len(after) < 12):
        raise Refusal(400, f"expected a number to start after, got {after!r:.80}", param="starting_after")
    try:
        return response.follow(max(-1, int(after)), api.clock())
    except ValueError as exc:
        raise Refusal(400, str(exc), param="stream") from exc


def cancel_response(api: Api, request: ApiRequest) -> Reply:
    """Answer `POST /responses/{response}/cancel`."""
    response = _response(api, request)
    try:
        response.cancel(api.clock())
    except ValueError as exc:
        raise Refusal(400, str(exc)) from exc
    return response.object()


def list_input_items(api: Api, request: ApiRequest) -> Reply:
    """Answer `GET /responses/{response}/input_items`."""
    return page(_response(api, request).asked.input, request.query)


def create_conversation(api: Api, request: ApiRequest) -> Reply:
    """Answer `POST /conversations`."""
    new = request.decode(NewConversation)
    conversation = api.responses.begin(api.now, metadata=new.metadata)
    conversation.add(_with_ids(api, new.items or []))
    return conversation.object


def retrieve_conversation(api: Api, request: ApiRequest) -> Reply:
    """Answer `GET /conversations/{conversation}`."""
    return _conversation(api, request).object


def create_items(api: Api, request: ApiRequest) -> Reply:
    """Answer `POST /conversations/{conversation}/items`."""
    items = _with_ids(api, request.decode(NewItems).items)
    conversation = _conversation(api, request)
    conversation.add(items)
    return page(items, {"limit": "100", "order": "asc"})


def list_items(api: Api, request: ApiRequest) -> Reply:
    """Answer `GET /conversations/{conversation}/items`."""
    conversation = _conversation(api, request)
    for response in conversation.responses.values():
        response.catch_up(api.clock())
    return page(conversation.items(), request.query)


def _response(api: Api, request: ApiRequest) -> Response:
    """Return the response that the path names, moved to the present."""
    identifier = request.ids["response"]
    found = api.responses.find(identifier)
    if found is None:
        raise Refusal(404, f"Response with id {identifier!r:.80} not found.", param="response_id")
    found.catch_up(api.clock())
    return found


def _conversation(api: Api, request: ApiRequest) -> Conversation:
    identifier = request.ids["conversation"]
    found = api.responses.conversation(identifier)
    if found is None:
        raise Refusal(404, f"Conversation with id {identifier!r:.80} not found.", param="conversation_id")
    return found


def _open(api: Api, request: ApiRequest, new: NewResponse) -> Response:
    """Return a new response, as the request says, where that is possible."""
    options = api.options(request)
    at, answers = api.at(options.seed), answers_of(new.input)
    for response in api.responses:
        response.catch_up(api.clock())
    conversation = _conversation_of(api, new, at)
    previous = _previous(api, new, conversation, answers)
    try:
        start = Start() if previous is None else previous.start_of_next(answers)
    except ValueError as exc:
        raise Refusal(400, str(exc), param="input") from exc
    scenario = options.scenario if previous is None or previous.script.waiting is None else previous.scenario
    given = request.decode(dict[str, Any])
    settings = {name: default if given.get(name) is None else given[name] for name, default in objects.SETTINGS.items()}
    settings |= {
        "model": settings["model"] or scenario.model,
        "instructions": settings["instructions"] or scenario.instructions,
        "tools": objects.declared_tools(scenario) if new.tools is None else new.tools,
        "conversation": None if conversation is None else {"id": conversation.id},
    }
    if new.agent_reference or new.agent:
        settings["agent_reference"] = new.agent_reference or new.agent
    asked = Asked(settings, _with_ids(api, objects.input_items(new.input)), bool(new.stream))
    number = api.next_run()
    response = new_response(number, scenario, asked, start, at=at, seed=options.seed, pace=options.pace)
    api.responses.add(response, conversation)
    return response


def _conversation_of(api: Api, new: NewResponse, at: float) -> Conversation | None:
    if new.conversation_id is None:
        return None
    if new.previous_response_id is not None:
        text = "expected either previous_response_id or conversation, got both"
        raise Refusal(400, text, param="previous_response_id")
    return api.responses.conversation(new.conversation_id) or api.responses.begin(at, new.conversation_id)


def _previous(
    api: Api, new: NewResponse, conversation: Conversation | None, answers: Mapping[str, Any]
) -> Response | None:
    """Return the response that a new one follows: where nothing names it, its answers may, with the calls."""
    if new.previous_response_id is not None:
        found = api.responses.find(new.previous_response_id)
        if found is None:
            text = f"Previous response with id {new.previous_response_id!r:.80} not found."
            raise Refusal(400, text, param="previous_response_id", code="previous_response_not_found")
        return found
    if conversation is not None:
        return conversation.newest
    called = {item.get("call_id") or item.get("id") for item in objects.input_items(new.input) if "name" in item}
    strange = [one for one in answers if one not in called]
    if strange:
        text = f"No tool call found for function call output with call_id {strange[0]}."
        raise Refusal(400, text, param="input")
    return api.responses.waiting_for(answers)


def answers_of(given: str | list[JSON]) -> dict[str, Any]:
    """Return the answers among the items of an input, by the ids of calls: outputs, and whether calls are approved."""
    found: dict[str, Any] = {}
    for item in () if isinstance(given, str) else given:
        if item.get("type") in OUTPUTS:
            found[str(item.get("call_id"))] = item.get("output")
        elif item.get("type") == "mcp_approval_response":
            found[str(item.get("approval_request_id"))] = bool(item.get("approve"))
    return found


OUTPUTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})


def _with_ids(api: Api, items: list[JSON]) -> list[JSON]:
    return [item if item.get("id") else {**item, "id": f"item_sim_{api.next_item()}"} for item in items]


_RESPONSE: Final = "/responses/{response}"
_CONVERSATION: Final = "/conversations/{conversation}"

ROUTES: Final[Routes] = {
    pattern("/responses"): {"POST": create_response},
    pattern(_RESPONSE): {"GET": retrieve_response},
    pattern(f"{_RESPONSE}/cancel"): {"POST": cancel_response},
    pattern(f"{_RESPONSE}/input_items"): {"GET": list_input_items},
    pattern("/conversations"): {"POST": create_conversation},
    pattern(_CONVERSATION): {"GET": retrieve_conversation},
    pattern(f"{_CONVERSATION}/items"): {"POST": create_items, "GET": list_items},
}
