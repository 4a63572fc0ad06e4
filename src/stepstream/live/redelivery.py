"""One change once more, to the subscribers that have not had it."""

from typing import Any

from stepstream.live.fanout import StreamFanout
from stepstream.live.leases import Lease
from stepstream.live.routing import Routes


async def redeliver(routes: Routes, change: Any, subscriber: str, lease: Lease | None) -> int:
    """Deliver a change to the callbacks of a name that take its class, whatever else they ask for.

    Returned is how many there are, when they have dealt with it: as they do with a change of a stream, by their
    options. None of them gets it where the `lease` is over.
    """
    fanout = StreamFanout(routes)
    fanout.lease = lease
    named = [one for one in routes.open if one.has_callback and one.name == subscriber and type(change) in one.classes]
    fanout.hand_over((change,), named)
    for _, pending in fanout.until_now():
        await pending.wait()
    return len(named)
