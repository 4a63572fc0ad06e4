"""The command line, and the one place where an exception becomes a line and an exit status."""

import argparse
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import anyio

from stepstream.cli import grammar
from stepstream.cli.exits import USAGE, status_of
from stepstream.cli.output import write_error, write_traceback
from stepstream.cli.request_options import RequestOptions
from stepstream.cli.source import is_url

INTERRUPTED: Final = 130
SERVE_OPTIONS: Final = ("host", "port", "token_env", "demo", "journal", "embedded")
SIMULATE_OPTIONS: Final = ("port", "scenario", "seed", "pace", "api_key")

_SILENCE: Final = logging.NullHandler()
"""Takes the library's log records, which the interpreter would print otherwise: a command reports errors itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. `arguments` are those after the program's name.

    Without a command that is the help, and the status of wrong usage: nothing was done.
    """
    parser = grammar.parser()
    options = parser.parse_args(arguments)
    _name_source(parser, options)
    if options.command is None:
        parser.print_help()
        return USAGE
    if not options.debug and options.command != "work":  # what its subscribers fail at is for whoever runs it
        logging.getLogger("stepstream").addHandler(_SILENCE)
    if sys.stdout is None:
        write_error("standard output is closed")
        return 1
    try:
        return anyio.run(_command(options)) or 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost edge: every error is one line and a status
        _release_output()
        if BrokenPipeError in (type(error), type(error.__cause__)):
            return 1  # the reader of our output has left: there is no reader for an error either
        if options.debug:
            write_traceback(error)
        write_error(_error_line(error, getattr(options, "source", "")))
        return status_of(error)


def _name_source(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Let a journal be the source. Exactly one is to be named."""
    if "source" not in options:
        return
    journal = getattr(options, "journal", None)
    if (not options.source) == (journal is None):
        parser.error("expected a SOURCE, or --journal URL --run ID, and not both")
    if journal is not None:
        options.source = journal


def _release_output() -> None:
    """Discard what standard output does not take: at its exit the interpreter would try again, and print an error."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _error_line(error: Exception, source: str) -> str:
    """Return an error in one line. The errors of URLs name what may be shown of the URL."""
    if isinstance(error, OSError) and error.strerror:  # one of a source is a TransportError
        return f"standard output: {error.strerror}" if source else error.strerror
    text = str(error) or type(error).__name__
    if not source or is_url(source):
        return text
    return f"{source.partition('?')[0]}: {text.removeprefix(f'{source}: ')}"  # the error of a file names it too


def _command(options: argparse.Namespace) -> Callable[[], Awaitable[int | None]]:
    """Return the command that `options` name. Each is imported when it is used, for not all can be everywhere."""
    match options.command:
        case "cat":
            from stepstream.cli.cat import cat

            return partial(cat, options.source, what=options.what, **_reading(options))
        case "watch":
            from stepstream.cli.watch import watch

            return partial(watch, options.source, plain=options.plain, redact=options.redact, **_reading(options))
        case "record":
            from stepstream.cli.record import record

            return partial(record, options.source, options.output, **_reading(options))
        case "check":
            from stepstream.cli.check import check

            return partial(check, options.source, **_reading(options))
        case "simulate":
            from stepstream.cli.simulate import list_choices, simulate

            asked = _named(options, *SIMULATE_OPTIONS)
            return list_choices if options.list else partial(simulate, faults=options.fault, **asked)
        case "serve":
            from stepstream.cli.serve import serve

            return partial(serve, options.sources, **_named(options, *SERVE_OPTIONS))
        case "work":
            from stepstream.cli.work import work

            return partial(work, options.target, **_named(options, "journal", "group", "lease", "max_runs"))
        case "dead-letters":
            from stepstream.cli.dead_letters import dead_letters

            return partial(dead_letters, options.action, options.ids, **_named(options, "journal", "group"))
        case _:
            from stepstream.cli.demo import demo

            return partial(demo, fast=options.fast, plain=options.plain, assistants=options.assistants)


def _named(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names}


def _reading(options: argparse.Namespace) -> dict[str, Any]:
    """Return how SOURCE is to be read, and what a URL is asked with."""
    request = RequestOptions(
        method=options.method,
        json=options.json,
        header=tuple(options.header),
        api_key_env=options.api_key_env,
        run=getattr(options, "run", None),
    )
    return {"chunk_size": options.chunk_size, "speed": options.speed, "request": request}
