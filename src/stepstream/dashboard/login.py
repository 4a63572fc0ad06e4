"""What a page sends to log in: the token, in a form or as JSON."""

from urllib.parse import parse_qs

import msgspec


class _Login(msgspec.Struct):
    token: str = ""


def given_token(content_type: str, body: bytes) -> str:
    """Return the token that a body gives; an empty text where it gives none."""
    if content_type.partition(";")[0].strip().lower() == "application/json":
        try:
            return msgspec.json.decode(body, type=_Login).token
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10) if body.count(b"&") < 10 else {}
    return fields.get("token", [""])[0]
