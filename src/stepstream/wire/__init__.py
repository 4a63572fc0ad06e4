"""Bytes ⇄ events: server-sent-event framing, and the typed objects inside. No IO, no clock, no event loop."""
