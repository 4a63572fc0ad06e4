"""The command line: argparse, one module a command, wiring only."""

from stepstream.cli.main import main

__all__ = ["main"]
