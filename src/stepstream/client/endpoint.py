"""Where an API is and how a request to it is made: base URL, version, key and headers."""

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import msgspec

from stepstream.sources.options import ApiKey, fresh_key, validated_headers
from stepstream.sources.url_redaction import redact_url

Auth: TypeAlias = Literal["bearer", "api-key"]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An API: where it is, and how a request to it is made. `default_headers` replace those that are set here."""

    base_url: str
    api_key: ApiKey | None
    auth: Auth
    api_version: str | None
    default_headers: Mapping[str, str]
    own_headers: Mapping[str, str] = {}
    """What every request to this API has, besides."""

    def __repr__(self) -> str:
        return f"<Endpoint {redact_url(self.base_url)}>"

    def check(self) -> None:
        """Check the base URL and the headers of every request, but for a key that a callable has yet to give.

        Raises:
            ValueError: `base_url` is no URL, `auth` is unknown, or a header cannot be sent, such as a key with a line
                end. Its value is not quoted.
        """
        if self.auth not in ("bearer", "api-key"):
            raise ValueError(f"expected auth 'bearer' or 'api-key', got {self.auth!r:.80}")
        try:
            urlsplit(self.base_url)
        except ValueError:
            raise ValueError(f"expected a URL as base_url, got {redact_url(self.base_url)!r:.80}") from None
        validated_headers(self._headers_with(None if callable(self.api_key) else self.api_key))

    def url(self, *path: str, query: Iterable[tuple[str, str]] = ()) -> str:
        """Return the URL of a path, its parts quoted, with the query of the base URL and the API's version.

        Raises:
            TypeError: a part is no string.
            ValueError: a part is empty, or would lead to another path, as ".." does.
        """
        for part in path:
            if not isinstance(part, str):
                raise TypeError(f"expected an id as a string, got {type(part).__name__}")
            if part in ("", ".", ".."):
                raise ValueError(f"expected an id, got {part!r}")
        parts = urlsplit(self.base_url)
        tail = "/".join(quote(part, safe="") for part in path)
        version = [] if self.api_version is None else [("api-version", self.api_version)]
        own = urlencode([*version, *query])
        joined = "&".join(filter(None, (parts.query, own)))
        return urlunsplit((parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}/{tail}", joined, ""))

    async def headers(self) -> dict[str, str]:
        """Return the headers of the next request, with a fresh key from a callable."""
        return self._headers_with(await fresh_key(self.api_key))

    def _headers_with(self, key: str | None) -> dict[str, str]:
        given = dict(self.own_headers)
        if key is not None:
            given |= {"api-key": key} if self.auth == "api-key" else {"Authorization": f"Bearer {key}"}
        replaced = {name.lower() for name in self.default_headers}
        kept = {name: value for name, value in given.items() if name.lower() not in replaced}
        return {**kept, **self.default_headers}
