"""The command line's grammar, and the one place where an exception becomes a line and an exit status."""

import argparse
import logging
import math
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, NoReturn

import anyio

from stepstream import __version__
from stepstream.cli.exits import USAGE, status_of
from stepstream.cli.output import write_error, write_traceback
from stepstream.cli.request_options import RequestOptions
from stepstream.cli.source import is_url
from stepstream.sources.files import CHUNK_SIZE

FORMS: Final = ("frames", "events", "changes", "steps", "runs", "messages")
INTERRUPTED: Final = 130
PLAIN: Final = "a line for each transition, on a terminal too"

_SILENCE: Final = logging.NullHandler()
"""Takes the library's log records, which the interpreter would print otherwise: a command reports errors itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. `arguments` are those after the program's name.

    Without a command that is the help, and the status of wrong usage: nothing was done.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    _name_source(parser, options)
    if options.command is None:
        parser.print_help()
        return USAGE
    if not options.debug:
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
    journal = getattr(options, "journal", None)
    if "source" in options and (options.source is None) == (journal is None):
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

            if options.list:
                return list_choices
            return partial(
                simulate,
                port=options.port,
                scenario=options.scenario,
                seed=options.seed,
                pace=options.pace,
                faults=options.fault,
                api_key=options.api_key,
            )
        case _:
            from stepstream.cli.demo import demo

            return partial(demo, fast=options.fast, plain=options.plain, assistants=options.assistants)


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
        "7 deviations found by check, 1 anything else.",
    )
    parser.add_argument("--version", action="version", version=f"stepstream {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    demo = commands.add_parser("demo", parents=[common], help="show a run in an embedded simulator, over real HTTP")
    demo.add_argument("--fast", action="store_true", help="without the pauses of a real run")
    demo.add_argument("--plain", action="store_true", help=PLAIN)
    demo.add_argument("--assistants", action="store_true", help="in the Assistants API, not the Responses API")
    watch = commands.add_parser("watch", parents=[common], help="draw a stream live")
    cat = commands.add_parser("cat", parents=[common], help="write a stream as JSON lines")
    cat.add_argument("--as", dest="what", choices=FORMS, default="steps", help="what a line is (default: %(default)s)")
    record = commands.add_parser("record", parents=[common], help="save a stream with its timing")
    record.add_argument("-o", dest="output", required=True, metavar="FILE", help="where to; a file there is replaced")
    check = commands.add_parser("check", parents=[common], help="report every deviation from the protocol")
    for command, speed in ((watch, "1"), (cat, "max"), (record, "1"), (check, "max")):
        _add_source(command, speed)
    for command in (watch, cat, record):
        _add_journal(command)
    watch.add_argument("--plain", action="store_true", help=PLAIN)
    watch.add_argument("--redact", action="store_true", help="hide prompts, arguments and outputs")
    _add_simulate(commands.add_parser("simulate", parents=[common], help="serve the simulator"))
    return parser


def _add_simulate(command: argparse.ArgumentParser) -> None:
    """Add the options of `simulate`. Which values they take, the simulator checks."""
    command.add_argument("--port", type=_port, default=8_777, help="0 for a free one (default: %(default)s)")
    command.add_argument("--scenario", default="umbrellas", metavar="NAME", help="what runs do (default: %(default)s)")
    command.add_argument(
        "--seed", type=_seed, metavar="N", help="the same requests give the same bytes, ids and timestamps too"
    )
    command.add_argument("--pace", default="real", metavar="PACE", help="real, fast or events per second")
    command.add_argument(
        "--fault", action="append", default=[], metavar="NAME[=N]", help="what becomes of streams; may be repeated"
    )
    command.add_argument("--api-key", metavar="KEY", help="require this key")
    command.add_argument("--list", action="store_true", help="tell what each scenario and fault does, and exit")


def _add_source(command: argparse.ArgumentParser, speed: str) -> None:
    """Add SOURCE to a command, how it is read, a recording at `speed` by default, and how a URL is asked."""
    command.add_argument(
        "source", nargs="?", metavar="SOURCE", help="a URL, a file, a recording, or - for standard input"
    )
    command.add_argument(
        "--chunk-size", type=_chunk_size, default=CHUNK_SIZE, metavar="BYTES", help="read so many bytes at once"
    )
    command.add_argument(
        "--speed", type=_speed, default=speed, metavar="FACTOR|max", help="of a recording (default: %(default)s)"
    )
    request = command.add_argument_group("how a URL is asked")
    request.add_argument("--method", help="default: POST with --json, else GET")
    request.add_argument("--json", metavar="JSON|@FILE", help="the body to send")
    request.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="may be repeated")
    request.add_argument(
        "--api-key-env", metavar="[HEADER:]VARIABLE", help="the variable that holds the key: sent as a bearer token"
    )


def _add_journal(command: argparse.ArgumentParser) -> None:
    """Add what is read in place of SOURCE: a run in a journal."""
    journal = command.add_argument_group("in place of SOURCE")
    journal.add_argument(
        "--journal",
        metavar="URL",
        help="redis://… or rediss://…, with a namespace after #; the password is in STEPSTREAM_JOURNAL_PASSWORD",
    )
    journal.add_argument("--run", metavar="ID", help="the run of it, which is followed to its end")


def _chunk_size(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a number of bytes of at least 1, got {text!r}")
    return int(text)


def _speed(text: str) -> float:
    try:
        speed = math.inf if text == "max" else float(text)
    except ValueError:
        speed = math.nan
    if not speed > 0 or (speed == math.inf and text != "max"):
        raise argparse.ArgumentTypeError(f"expected a factor above 0, or max, got {text!r}")
    return speed


def _port(text: str) -> int:
    return _number(text, "a port", 65_535)


def _seed(text: str) -> int:
    return _number(text, "a seed", 2**63 - 1)


def _number(text: str, what: str, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= most):
        raise argparse.ArgumentTypeError(f"expected {what} from 0 to {most:,}, got {text!r}")
    return int(text)
