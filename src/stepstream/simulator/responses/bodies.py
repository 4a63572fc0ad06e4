"""The bodies of requests to the Responses API, as far as the simulator reads them."""

from typing import Any

import msgspec


class NewResponse(msgspec.Struct):
    """A response that the client asks for. The settings of `objects.SETTINGS` are taken beside these fields."""

    input: str | list[dict[str, Any]] = []
    stream: bool | None = False
    background: bool | None = False
    store: bool | None = True
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    agent: dict[str, Any] | None = None
    agent_reference: dict[str, Any] | None = None

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation, which may come as an object."""
        found = self.conversation.get("id") if isinstance(self.conversation, dict) else self.conversation
        return str(found) if found else None


class NewConversation(msgspec.Struct):
    """A conversation that the client creates."""

    items: list[dict[str, Any]] | None = None
    metadata: dict[str, str] | None = None


class NewItems(msgspec.Struct):
    """Items that the client adds to a conversation."""

    items: list[dict[str, Any]]
