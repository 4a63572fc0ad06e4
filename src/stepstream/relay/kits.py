"""Conversations of the kits: of the AI SDK's `useChat`, of AG-UI's `HttpAgent`."""

from typing import Any, ClassVar

from stepstream.relay.chats import Chats
from stepstream.relay.forms.ag_ui import AG_UI, AgUiForm
from stepstream.relay.forms.ai_sdk import AI_SDK, AiSdkForm
from stepstream.relay.forms.form import FormKind
from stepstream.relay.forms.kit import KitForm
from stepstream.relay.posted import Posted, from_http_agent, from_use_chat


class AiSdkChats(Chats):
    """Conversations of pages with `useChat`."""

    kind: ClassVar[FormKind] = AI_SDK

    def read(self, body: dict[str, Any]) -> Posted:
        """Return what `useChat` posts."""
        return from_use_chat(body)

    def form(self, posted: Posted) -> KitForm:
        """Return a form."""
        return AiSdkForm(show_errors=self.show_errors)


class AgUiChats(Chats):
    """Conversations of pages with `HttpAgent`, such as those of CopilotKit."""

    kind: ClassVar[FormKind] = AG_UI

    def read(self, body: dict[str, Any]) -> Posted:
        """Return what `HttpAgent` posts."""
        return from_http_agent(body)

    def form(self, posted: Posted) -> KitForm:
        """Return a form that names run and thread as the page does, and knows what it has."""
        names = {"run_id": posted.body["runId"], "thread_id": posted.chat_id, "parent_run_id": posted.run_id or ""}
        return AgUiForm(**names, messages=posted.messages, show_errors=self.show_errors)
