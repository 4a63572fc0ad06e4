"""relay: any number of viewers of a run, each in the form that it asks for."""

from stepstream.relay.encoded import encoded
from stepstream.relay.relay import Relay

__all__ = ["Relay", "encoded"]
