"""Every deviation of a stream from the Responses protocol."""
