"""The queue that a subscriber needs: all have the same methods."""

from stepstream.live.batch_queue import BatchQueue
from stepstream.live.coalescing import ABOUT
from stepstream.live.fifo_queue import FifoQueue
from stepstream.live.options import Delivery
from stepstream.live.paced_queue import PacedQueue


def queue_for(delivery: Delivery) -> FifoQueue | PacedQueue | BatchQueue:
    """Return the queue that a delivery needs."""
    single = _single(delivery)
    return single if delivery.batch is None else BatchQueue(single, delivery.batch, delivery.max_wait)


def _single(delivery: Delivery) -> FifoQueue | PacedQueue:
    if not delivery.coalesces and delivery.concurrency == 1:
        return FifoQueue()
    return PacedQueue(
        coalesces=delivery.coalesces,
        min_interval=delivery.min_interval,
        by_run=delivery.concurrency > 1,
        about=ABOUT[delivery.coalesce_by],
    )
