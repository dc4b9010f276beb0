"""Errors raised in code of a user's own, in one sentence that begins with the user's own line.

A method, a data function, an encoder or a callback of a user's own is called from deep inside the simulator, and calls
libraries itself. Of such an error's traceback the user's deepest line is told: file, number and text. ``--debug`` shows
the rest.
"""

import linecache
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from interlude.simulator.errors import InterludeError, UserCodeError, one_line

_OURS = Path(__file__).parents[2]
_LIBRARIES = (_OURS, *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")))
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_LONGEST_FILE, _LONGEST_LINE, _LONGEST_TEXT = 100, 80, 140


def sentence_of(error: BaseException) -> str:
    """Return an error as one sentence: the user's own line, where it was raised in one, then its type and text."""
    found = _in_users_code(error)
    if found is None:
        return _said(error)
    raised, line = found
    return f"{line}: {_said(raised)}"


def is_users(error: BaseException) -> bool:
    """Return whether an error was raised in code of a user's own, or in what that called."""
    return _in_users_code(error) is not None


@contextmanager
def blaming(what: str, *, is_own: bool = True) -> Iterator[None]:
    """Turn what goes wrong in code of a user's own, before anything runs, into one sentence.

    Args:
        what: what is called, e.g. ``method 'mine:Mine'``.
        is_own: whether it is a user's own; an error of the simulator's own code is left as it is.

    Raises:
        UserCodeError: with the user's own line.
    """
    try:
        yield
    except InterludeError:
        raise
    except (Exception, SystemExit) as error:  # a module may call sys.exit when it is imported
        if is_users(error):
            raise UserCodeError(f"{sentence_of(error)} (in {what})") from error
        if is_own:
            raise UserCodeError(f"{what} failed: {_said(error)}") from error
        raise


def _in_users_code(error: BaseException) -> tuple[BaseException, str] | None:
    """Return the first error of a chain that was raised in a user's code, and the user's line in words.

    SimPy raises a copy of what a process raises, so the line may belong to a cause.
    """
    chained: BaseException | None = error
    seen: set[int] = set()
    while chained is not None and id(chained) not in seen:
        seen.add(id(chained))
        line = _users_line(chained)
        if line is not None:
            return chained, line
        chained = chained.__cause__ or (None if chained.__suppress_context__ else chained.__context__)
    return None


def _users_line(error: BaseException) -> str | None:
    """Return the user's deepest line in an error's traceback, in words; a syntax error says itself where it is."""
    if isinstance(error, SyntaxError) and error.filename and _is_a_users_file(error.filename):
        return _in_words(error.filename, error.lineno or 1, error.text)
    deepest = None
    for trace in _frames(error.__traceback__):
        if _is_a_users_file(trace.tb_frame.f_code.co_filename):
            deepest = trace
    if deepest is None:
        return None
    return _in_words(deepest.tb_frame.f_code.co_filename, deepest.tb_lineno, None)


def _frames(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _is_a_users_file(name: str) -> bool:
    """Return whether a file is not of Python, this package or another one installed; a notebook's cell is a user's."""
    if name.startswith("<"):
        return bool(linecache.getline(name, 1))
    path = Path(name)
    return not _INSTALLED.intersection(path.parts) and not any(path.is_relative_to(folder) for folder in _LIBRARIES)


def _in_words(name: str, number: int, text: str | None) -> str:
    linecache.checkcache(name)
    line = _cut(one_line(text or linecache.getline(name, number)), _LONGEST_LINE)
    path = Path(name)
    here = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    file = str(here)
    if len(file) > _LONGEST_FILE:
        file = f"...{file[3 - _LONGEST_FILE :]}"
    return f"{file}, line {number}" + (f", '{line}'" if line else "")


def _said(error: BaseException) -> str:
    said = error.msg if isinstance(error, SyntaxError) else error  # its text says the place a second time
    text = _cut(one_line(said), _LONGEST_TEXT)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
