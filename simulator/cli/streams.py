"""Standard output and error that never end a command: what cannot be written there is dropped."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

_STANDARD = (0, 1, 2)
"""Descriptors of standard input, output and error."""


class LenientStream(io.TextIOBase):
    """A text stream that drops what the one below cannot take.

    A character that its encoding lacks is written as a question mark; after any other failure nothing more is written.

    Args:
        stream: the stream below; None where there is none.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.failure: OSError | None = None
        """Why nothing more is written, unless the reader closed the pipe or the stream was closed from the start."""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute in typeshed
        """The encoding of the stream below."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write a text, or drop it; returns its length."""
        with self._dropping():
            if self._stream is not None:
                try:
                    self._stream.write(text)
                except UnicodeEncodeError:
                    self._stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
        return len(text)

    def flush(self) -> None:
        """Pass on what is buffered, or drop it."""
        with self._dropping():
            if self._stream is not None:
                self._stream.flush()

    def isatty(self) -> bool:
        """Return whether the stream below is a terminal."""
        with suppress(ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def fileno(self) -> int:
        """Return the descriptor of the stream below; raises OSError where there is none."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def writable(self) -> bool:
        """Return true."""
        return True

    def __getattr__(self, name: str) -> Any:
        """Return what else the stream below has, its buffer for example."""
        return getattr(self.__dict__.get("_stream"), name)

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._give_up(None if error.errno == errno.EPIPE else error)
        except ValueError:  # the stream is closed
            self._give_up(None)

    def _give_up(self, failure: OSError | None) -> None:
        """Write no more; what is still buffered below goes nowhere, at the end of the process too."""
        stream, self._stream, self.failure = self._stream, None, failure
        with suppress(OSError, ValueError, AttributeError):
            descriptor = stream.fileno()  # type: ignore[union-attr]  # None has no descriptor: suppressed
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


@contextmanager
def lenient_streams() -> Iterator[LenientStream]:
    """Put `LenientStream`s in the place of standard output and error; yields standard output's.

    Descriptors that are closed from the start lead nowhere instead, so that no file of a run is opened as one of them.
    """
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
    before = sys.stdout, sys.stderr
    output = LenientStream(sys.stdout)
    sys.stdout, sys.stderr = output, LenientStream(sys.stderr)
    try:
        yield output
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
