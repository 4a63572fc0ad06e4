"""What standard output can show: whether runs can be drawn on it, and how."""

import os
import sys
from collections.abc import Mapping

from stepstream.views.model import Theme


def is_drawable() -> bool:
    """Return whether standard output is a terminal that can be drawn on, and this program is in its foreground."""
    if sys.platform == "win32" or sys.stdout is None or not sys.stdout.isatty():
        return False
    if os.environ.get("TERM", "dumb") == "dumb":
        return False
    try:
        return os.tcgetpgrp(sys.stdout.fileno()) == os.getpgrp()
    except OSError:
        return False


def is_typed() -> bool:
    """Return whether standard input is a terminal: then what is typed is the stream, and no keys are left."""
    return sys.stdin is not None and sys.stdin.isatty()


def theme_of(environment: Mapping[str, str], encoding: str, *, redact: bool) -> Theme:
    """Return what a terminal can show: colours unless `NO_COLOR` is set, Unicode where its encoding has it."""
    is_ascii = environment.get("LC_ALL") in ("C", "POSIX") or environment.get("TERM") == "linux"
    has_unicode = encoding.lower().replace("-", "").startswith("utf") and not is_ascii
    return Theme(colour=not environment.get("NO_COLOR"), unicode=has_unicode, redact=redact)


def check_rich() -> None:
    """Check that what draws is installed.

    Raises:
        ImportError: it is not.
    """
    try:
        import rich  # noqa: F401 - asked for, not used
    except ImportError as exc:
        raise ImportError("drawing needs rich: pip install 'stepstream[cli]', or use --plain") from exc
