"""Errors that are reported to users, each in one clear sentence."""

import difflib
import re
from collections.abc import Iterable

_ENDLESS_WORD = re.compile(r"^(.{60}).{180,}(.{60})$", re.DOTALL)  # longer than any name of a file
_MOST_CHARACTERS = 380
_CHARACTERS_AT_END = 130  # where what is allowed is said


class InterludeError(Exception):
    """Base of all errors that are reported as one sentence, without a traceback."""

    def __str__(self) -> str:
        """Return the sentence, shortened if it is very long."""
        return at_a_glance(one_line(super().__str__()))


class BadInputError(InterludeError):
    """A scenario, file or flag that cannot be used; the command line exits with code 2."""


class BadFileError(BadInputError, ValueError):
    """A file that cannot be used. A `ValueError`, too: pydantic adds the scenario's field that names the file."""


class CannotRunError(BadInputError):
    """A scenario that is refused before it runs: it needs more than its limits allow, or cannot start."""


class UserCodeError(BadInputError):
    """Code of a user's own raised an error before anything ran; the sentence begins with the user's line."""


class RecordError(InterludeError):
    """A record can no longer be written (a full disk); everything written so far is consistent."""


class TrainingError(InterludeError):
    """Training failed; the run stops and keeps its record."""


class DivergedError(TrainingError):
    """The training loss is not finite."""


class TooManyEventsError(InterludeError):
    """A run exceeds its limit of events; it stops and keeps its record."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the valid name closest to `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f"; did you mean {shown(close[0])}?" if close else ""


def one_line(error: object) -> str:
    """Return an error's message on one line, without unprintable characters and the middle of very long words."""
    words = " ".join(_ENDLESS_WORD.sub(r"\1...\2", word) for word in str(error).split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)


def shown(given: object, longest: int = 60) -> str:
    """Return what was given in quotation marks, on one line and at most that long."""
    return f"'{shortened(given, longest)}'"


def shortened(given: object, longest: int) -> str:
    """Return a text on one line and at most that long."""
    text = one_line(given)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def at_a_glance(sentence: str) -> str:
    """Return a sentence without its middle if it is longer than is read at a glance."""
    if len(sentence) <= _MOST_CHARACTERS:
        return sentence
    return f"{sentence[: _MOST_CHARACTERS - _CHARACTERS_AT_END - 5]} ... {sentence[-_CHARACTERS_AT_END:]}"
