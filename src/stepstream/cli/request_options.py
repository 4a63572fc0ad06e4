"""The request for a URL: method, body and headers from the command line, keys from the environment."""

import json
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from msgspec import Struct

from stepstream.cli.exits import UsageError
from stepstream.cli.journal_source import is_journal, journal_at
from stepstream.cli.source import is_url
from stepstream.sources.options import check_json, validated_headers, verb_of

T = TypeVar("T")

_SECRET: Final = re.compile(
    r"\bauth(orization)?\b|apikey|(?<!idempotency-)\bkey\b|cookie|password|secret|token", re.IGNORECASE
)
"""What is in the names of headers that hold a key: others on the machine can read a command line."""

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class RequestOptions(Struct, frozen=True, kw_only=True):
    """The options of a request as they were typed."""

    method: str | None = None
    json: str | None = None
    """JSON, or the name of a file with it after `@`."""
    header: tuple[str, ...] = ()
    """Each `Name: value`."""
    api_key_env: str | None = None
    """The variable that holds the key, maybe after the header for it and a colon."""

    run: str | None = None
    """The run of a journal."""

    def options(self, source: str) -> dict[str, Any]:
        """Return the arguments of `connect` for `source`.

        Raises:
            UsageError: an option cannot be used, or the source is no URL.
        """
        if is_journal(source):
            if self.run is None or self != RequestOptions(run=self.run):
                raise UsageError("a journal is asked for a run: expected --run ID, and no other option of a request")
            journal_at(source)  # it is checked here, and opened when it is read
            return {"run_id": self.run}
        if self.run is not None:
            raise UsageError("--run is for a journal: expected --journal redis://… or rediss://…")
        if self == RequestOptions():
            return {}
        if not is_url(source):
            raise UsageError("--method, --json, --header and --api-key-env are for a URL")
        options: dict[str, Any] = {"headers": self._headers(os.environ)}
        if self.method is not None:
            options["method"] = _checked(partial(verb_of, self.method, None))
        if self.json is not None:
            options["json"] = _body(self.json)
        return options

    def _headers(self, environment: Mapping[str, str]) -> dict[str, str]:
        headers = dict(map(_header, self.header))
        if self.api_key_env is not None:
            header, colon, name = self.api_key_env.rpartition(":")
            key = environment.get(name)
            if not key and not _VARIABLE.fullmatch(name):
                raise UsageError("expected the name of an environment variable after --api-key-env, got another text")
            if not key:
                raise UsageError(f"expected a key in the environment variable {name}, which is not set")
            headers.update({header: key} if colon else {"Authorization": f"Bearer {key}"})
        return _checked(partial(validated_headers, headers))


def _checked(check: Callable[[], T]) -> T:
    """Return what a check of an option gives.

    Raises:
        UsageError: it refuses that.
    """
    try:
        return check()
    except ValueError as exc:
        raise UsageError(str(exc)) from exc


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise UsageError("expected a header as 'Name: value'")
    if _SECRET.search(name):
        raise UsageError(f"no key on the command line: expected --api-key-env {name.strip()}:VARIABLE instead")
    return name.strip(), value.strip()


def _body(text: str) -> Any:
    """Return the JSON that was typed, or that is in the file named."""
    try:
        content = Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
        body = json.loads(content)
        check_json(body)
        return body
    except OSError as exc:
        raise UsageError(f"{text[1:]}: {exc.strerror}") from exc
    except (ValueError, RecursionError) as exc:
        raise UsageError("expected JSON after --json, or @ and the name of a file with JSON") from exc
