"""The command line's grammar: commands, their options, and what those take."""

import argparse
import math
import sys
from typing import Final, NoReturn

from stepstream import __version__
from stepstream.cli.exits import USAGE
from stepstream.cli.output import write_error
from stepstream.sources.files import CHUNK_SIZE

FORMS: Final = ("frames", "events", "changes", "steps", "runs", "messages")
PLAIN: Final = "a line for each transition, on a terminal too"
DEBUG: Final = "show the traceback of an error"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        write_error(f"{message} (see {self.prog} --help)")
        sys.exit(USAGE)


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    common = _Parser(add_help=False)
    common.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=DEBUG)
    found = _Parser(
        prog="stepstream",
        description="Run-step streams of agents: live snapshots and transitions.",
        epilog="Exit status: 0 complete, 2 usage, 3 truncated, 4 error event, 5 refused by the server, 6 transport, "
        "7 deviations found by check, 1 anything else.",
    )
    found.add_argument("--version", action="version", version=f"stepstream {__version__}")
    found.add_argument("--debug", action="store_true", help=DEBUG)
    commands = found.add_subparsers(dest="command", metavar="COMMAND")
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
    _add_serve(commands.add_parser("serve", parents=[common], help="show every run in a browser, and take new ones"))
    _add_simulate(commands.add_parser("simulate", parents=[common], help="serve the simulator"))
    _add_work(commands.add_parser("work", parents=[common], help="let a function's subscribers work on runs"))
    _add_dead_letters(commands.add_parser("dead-letters", help="what a group could not deal with"), common)
    return found


def _add_serve(command: argparse.ArgumentParser) -> None:
    """Add the options of `serve`."""
    command.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="URLs, files, recordings or -: each is read, and its runs are shown",
    )
    command.add_argument("--host", default="127.0.0.1", help="others need --token-env (default: %(default)s)")
    command.add_argument("--port", type=_port, default=8_700, help="0 for a free one (default: %(default)s)")
    command.add_argument("--token-env", metavar="NAME", help="the variable that holds the token that is asked for")
    command.add_argument("--demo", action="store_true", help="show runs of the simulator, a new one every few seconds")
    kept = command.add_mutually_exclusive_group()
    kept.add_argument(
        "--journal",
        metavar="URL",
        help="keep the runs on Valkey or Redis: redis://… or rediss://…, with a namespace after #; the password is in "
        "STEPSTREAM_JOURNAL_PASSWORD",
    )
    kept.add_argument("--embedded", action="store_true", help="keep them on a Valkey that is started for it")


def _add_work(command: argparse.ArgumentParser) -> None:
    """Add the options of `work`."""
    command.add_argument("target", metavar="MODULE:FUNCTION", help="registers subscribers on the processor it is given")
    _add_group(command)
    command.add_argument("--lease", type=_lease, default=15, metavar="SECONDS", help="default: %(default)s")
    command.add_argument(
        "--max-runs", type=_count, default=100, metavar="N", help="so many at a time (default: %(default)s)"
    )


def _add_dead_letters(command: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Add the actions of `dead-letters`, and their options."""
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, count, what in (
        ("list", "*", "write them: a table on a terminal, else JSON lines"),
        ("resend", "+", "let their subscribers have them again"),
        ("drop", "+", "forget them"),
    ):
        action = actions.add_parser(name, parents=[common], help=what)
        action.add_argument("ids", nargs=count, metavar="ID")
        _add_group(action)


def _add_group(command: argparse.ArgumentParser) -> None:
    command.add_argument("--journal", required=True, metavar="URL", help="redis://… or rediss://…, #namespace")
    command.add_argument("--group", required=True, metavar="NAME", help="of workers")


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


def _count(text: str) -> int:
    found = _number(text, "a number", 1_000_000)
    if not found:
        raise argparse.ArgumentTypeError("expected a number of at least 1, got 0")
    return found


def _lease(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.05 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"expected seconds from 0.05 to 86,400, got {text!r}")
    return seconds


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
