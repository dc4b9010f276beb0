"""Futures: values that are computed when they are first requested, or earlier together with others."""

from typing import ClassVar, Generic, TypeVar

from interlude.simulator.errors import TrainingError

T = TypeVar("T")


class Future(Generic[T]):
    """A value that is known, or computed when it is requested.

    This base class computes nothing: it is fulfilled from outside. Subclasses know how to compute the value.
    """

    __slots__ = ("__weakref__", "_failure", "_value")
    failure_type: ClassVar[type[TrainingError]] = TrainingError
    """What `result` raises if the value is unusable."""

    def __init__(self) -> None:
        self._value: T | None = None
        self._failure: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether the value is known, or known never to exist."""
        return self._value is not None or self._failure is not None

    def fulfil(self, value: T | None, failure: str | None = None) -> None:
        """Store the value.

        Args:
            value: the value; None if there will never be one.
            failure: why it is unusable; `result` then raises an error that says so.
        """
        self._value, self._failure = value, failure

    def ensure_computed(self) -> None:
        """Compute the value unless it is known."""
        return

    def result(self) -> T:
        """Return the value, computing it if necessary.

        Raises:
            TrainingError: if it is unusable.
        """
        if not self.is_done:
            self.ensure_computed()
        if self._failure is not None:
            raise self.failure_type(self._failure)
        assert self._value is not None, "a future without an executor was never fulfilled"
        return self._value

    def take(self) -> T:
        """Return the value as `result` does, and let go of it: it cannot be requested again."""
        value = self.result()
        self._value, self._failure = None, "the result was merged, and is requested again"
        return value


def failed(failure: str) -> Future[T]:
    """Return a future without a value, whose `result` raises an error that says why."""
    future = Future[T]()
    future.fulfil(None, failure)
    return future
