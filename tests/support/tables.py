"""A whole table in one test, where a failure names its rows."""

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import pytest

REMEMBERING = {"caplog", "capfd", "capsys", "monkeypatch", "tmp_path"}
"""Fixtures that keep what one row did, so that it would be seen by the next."""


def each_row(
    names: str | tuple[str, ...], rows: Iterable[Any], ids: Iterable[object] | Callable[[Any], object] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Run a test for each row of a table, as one case; given like ``pytest.mark.parametrize``, for rows that are cheap.

    Every row is run. The first that fails is what the test fails with, and a note names it and the others that fail.
    """
    columns = (names,) if isinstance(names, str) else names
    cells = [(row,) if isinstance(names, str) else tuple(row) for row in rows]
    labels = [ids(*row) for row in cells] if callable(ids) else cells if ids is None else list(ids)
    table = [(str(label), dict(zip(columns, row, strict=True))) for label, row in zip(labels, cells, strict=True)]
    if not table:
        raise ValueError("A table without rows tests nothing.")

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(test)
        fixtures = [parameter for name, parameter in signature.parameters.items() if name not in columns]
        if kept := REMEMBERING.intersection(parameter.name for parameter in fixtures):
            raise TypeError(f"Rows would share {', '.join(sorted(kept))}: use pytest.mark.parametrize.")

        @wraps(test)
        def run(**given: Any) -> None:
            failures = _Failures()
            for label, row in table:
                with failures.of(label):
                    test(**given, **row)
            failures.tell()

        @wraps(test)
        async def run_async(**given: Any) -> None:
            failures = _Failures()
            for label, row in table:
                with failures.of(label):
                    await test(**given, **row)
            failures.tell()

        each = run_async if inspect.iscoroutinefunction(test) else run
        vars(each)["__signature__"] = signature.replace(parameters=fixtures)
        return each

    return decorate


class _Failures:
    """The rows that failed so far."""

    def __init__(self) -> None:
        self._failed: list[tuple[str, BaseException]] = []
        self._label = ""

    def of(self, label: str) -> "_Failures":
        self._label = label
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, Exception | pytest.fail.Exception):
            return False
        self._failed.append((self._label, error))
        return True

    def tell(self) -> None:
        if self._failed:
            (label, error), *others = self._failed
            error.add_note(f"in row: {label}")
            if others:
                error.add_note(f"as in {len(others)} more: {'; '.join(label for label, _ in others)}")
            raise error
