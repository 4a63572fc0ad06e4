"""Every deviation of a stream from the protocol, for authors of servers. No IO, no clock."""
