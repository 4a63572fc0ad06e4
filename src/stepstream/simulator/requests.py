"""A request as the endpoints read it, and the refusal that it may get instead of an answer."""

from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

OPTIONS: Final = ("scenario", "fault", "seed", "pace")
"""What a request may say about its run, as a query parameter or as a header named `x-simulator-…`."""


class Refusal(Exception):
    """A request that gets an error instead of its answer, in the API's own shape."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        type_: str = "invalid_request_error",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.error = {"message": message, "type": type_, "param": param, "code": code}


T = TypeVar("T")


class _Streaming(msgspec.Struct):
    stream: bool | None = False


class ApiRequest:
    """One request, its body read. `ids` are those in its path."""

    def __init__(
        self,
        method: str,
        path: str,
        ids: Mapping[str, str],
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
    ) -> None:
        self.method = method
        self.path = path
        self.ids = ids
        self.query = query
        self.headers = headers
        self._body = body

    def __repr__(self) -> str:
        return f"<ApiRequest {self.method} {self.path}>"

    def option(self, name: str) -> str | None:
        """Return one of `OPTIONS`, or None where the request does not say."""
        return self.query.get(name, self.headers.get(f"x-simulator-{name}"))

    @property
    def wants_stream(self) -> bool:
        """Whether the body, or the query of a GET, asks for a stream."""
        if self.method == "GET":
            return self.query.get("stream") == "true"
        try:
            return self.method == "POST" and bool(msgspec.json.decode(self._body, type=_Streaming).stream)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False

    def decode(self, type_: type[T]) -> T:
        """Return the body. An empty one stands for no fields.

        Raises:
            Refusal: 400, it is not JSON, or does not fit `type_`.
        """
        try:
            return msgspec.json.decode(self._body or b"{}", type=type_)
        except msgspec.ValidationError as exc:
            raise Refusal(400, f"expected another body: {exc}", param=_field(str(exc))) from exc
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise Refusal(400, f"expected a JSON body for this path: {exc}") from exc


def _field(text: str) -> str | None:
    """Return the field that a validation error is about."""
    _, dollar, path = text.partition("$.")
    return path.rstrip("`") or None if dollar else None
