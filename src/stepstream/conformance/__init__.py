"""What a strict server author wants to know: every deviation of a stream from the protocol. No IO, no clock."""
