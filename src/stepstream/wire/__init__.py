"""Bytes ⇄ events: the framing of server-sent events, and the typed objects in them. No IO, no clock, no event loop."""
