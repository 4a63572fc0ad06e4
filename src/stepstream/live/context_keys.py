"""Which contexts are the same: those that are equal, or, where they have no hash, the same object."""

from collections.abc import Hashable
from typing import Any


def context_key(context: Any) -> Hashable:
    """Return what is equal for the same contexts. Whoever keeps it must keep an object without a hash too."""
    try:
        hash(context)
    except Exception:  # noqa: BLE001 - of the user's class: it has no hash then
        return "without a hash", id(context)
    return "context", context
