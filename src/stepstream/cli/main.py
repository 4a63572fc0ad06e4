"""The command line's grammar, and the one place where an exception becomes a line and an exit status."""

import argparse
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Final, NoReturn

import anyio

from stepstream.cli.exits import USAGE, status_of
from stepstream.cli.output import write_error, write_traceback
from stepstream.cli.source import is_url
from stepstream.sources.files import CHUNK_SIZE

FORMS: Final = ("frames", "events", "changes", "steps", "runs", "messages")
INTERRUPTED: Final = 130

_SILENCE: Final = logging.NullHandler()
"""Takes the library's log records, which the interpreter would else print: a command tells its errors itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. `arguments` are those after the program's name."""
    options = _parser().parse_args(arguments)
    if not options.debug:
        logging.getLogger("stepstream").addHandler(_SILENCE)
    if sys.stdout is None:
        write_error("standard output is closed")
        return 1
    try:
        anyio.run(_command(options))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost edge: every error is one line and a status
        _release_output()
        if BrokenPipeError in (type(error), type(error.__cause__)):
            return 1  # the reader of our output has left: nobody is to be told
        if options.debug:
            write_traceback(error)
        write_error(_told(error, getattr(options, "source", "")))
        return status_of(error)
    return 0


def _release_output() -> None:
    """Let go of what standard output does not take: the interpreter would try again, and complain, as it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _told(error: Exception, source: str) -> str:
    """Return an error in one line. The errors of URLs name what may be shown of the URL."""
    text = str(error) or type(error).__name__
    return text if not source or is_url(source) else f"{source.partition('?')[0]}: {text}"  # maybe meant as a URL


def _command(options: argparse.Namespace) -> Callable[[], Awaitable[None]]:
    """Return the command that `options` name. Each is imported when it is needed: not all can be everywhere."""
    match options.command:
        case "cat":
            from stepstream.cli.cat import cat

            return partial(cat, options.source, what=options.what, chunk_size=options.chunk_size)
        case "watch":
            from stepstream.cli.watch import watch

            return partial(watch, options.source, chunk_size=options.chunk_size)
        case _:
            from stepstream.cli.demo import demo

            return partial(demo, fast=options.fast)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        write_error(f"{message} (see {self.prog} --help)")
        sys.exit(USAGE)


def _parser() -> argparse.ArgumentParser:
    common = _Parser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser = _Parser(
        prog="stepstream",
        description="Run-step streams of agents: live snapshots and transitions.",
        epilog="Exit status: 0 complete, 2 usage, 3 truncated, 4 error event, 5 refused by the server, 6 transport, "
        "1 anything else.",
    )
    parser.add_argument("--version", action="version", version=f"stepstream {version('stepstream')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", parents=[common], help="show a run in an embedded simulator, over real HTTP")
    demo.add_argument("--fast", action="store_true", help="without the pauses of a real run")
    watch = commands.add_parser("watch", parents=[common], help="show a stream live, a line for each transition")
    cat = commands.add_parser("cat", parents=[common], help="write a stream as JSON lines")
    cat.add_argument("--as", dest="what", choices=FORMS, default="steps", help="what a line is (default: %(default)s)")
    for command in (watch, cat):
        command.add_argument("source", metavar="SOURCE", help="a URL, a file, or - for standard input")
        command.add_argument(
            "--chunk-size", type=_chunk_size, default=CHUNK_SIZE, metavar="BYTES", help="read so many bytes at once"
        )
    return parser


def _chunk_size(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a number of bytes of at least 1, got {text!r}")
    return int(text)
