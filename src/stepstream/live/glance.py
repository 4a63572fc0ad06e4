"""A look at what a processor knows just now, for who draws it a few times a second."""

from stepstream.fold.state import State
from stepstream.live.processor import Processor


def state_of(processor: Processor) -> State:
    """Return the state that the processor's streams fold into: to be looked at, and neither changed nor kept.

    It is no subscription: nothing is called or built for an event, so the streams do not feel how many there are.
    """
    return processor._state
