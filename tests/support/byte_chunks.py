"""Bytes in chunks."""


def pieces(data: bytes, size: int) -> list[bytes]:
    """Return the chunks of `size` bytes that some bytes consist of; the last may be shorter."""
    return [data[start : start + size] for start in range(0, len(data), size)]
