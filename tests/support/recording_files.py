"""Recordings as they are written to files."""

TITLE = b": stepstream recording 1\n"


def taped(*timed: tuple[str, bytes]) -> bytes:
    """Return a recording of blocks, each at a time."""
    return TITLE + b"".join(b": at %b\n%b" % (at.encode(), block) for at, block in timed)
