"""A client's day in a world where nothing interrupts it: every span takes the time that was intended.

So a span is over as soon as the method intends it: it moves the client's time and leaves a row, and the journey learns
of meetings only, and of an upload that breaks off. Most runs consist of such days.
"""

from collections.abc import Iterable
from typing import Any, Final

from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import BROKEN_OFF, Ask, Dispatch, Span, Submit
from interlude.simulator.federation.setting import Setting

_NO_SPANS: Final[tuple[Span, ...]] = ()
_BROKEN_OFF: Final = (BROKEN_OFF,)


class UndisturbedDay(ClientDay):
    """One local round of one client, where nothing but a broken upload can go wrong.

    Args:
        setting: what all clients of the run share.
        dispatch: which client, which window, from which version.
        submit: receives the training tasks of the day; None: nothing is trained, and no task is made.
        ask: answers a download in mid-round.
        values: receives the values of the day's rows, row after row.
    """

    __slots__ = ("_values",)

    def __init__(
        self, setting: Setting, dispatch: Dispatch, submit: Submit | None, ask: Ask, values: list[Any]
    ) -> None:
        super().__init__(setting, dispatch, submit, ask)
        self._values = values

    def _spend(self, span: Span) -> Iterable[Span]:
        """Spend the time of a span; returns none to decide on, unless the day ends here."""
        activity, duration_s, modality, num_bytes, flops, is_slow, update, version = span
        dispatch, client = self._dispatch, self.client
        start_s = dispatch.now_s
        if version is None:
            version = dispatch.version
        if update is not None:
            fraction = self._setting.world.faults.upload_fraction(client, dispatch.window)
            if fraction < 1.0:
                dispatch.now_s = end_s = start_s + fraction * duration_s
                cut_bytes = int(fraction * num_bytes)
                self._values += (client, activity, "lost", False, start_s, end_s, version, None, cut_bytes, 0, None)
                dispatch.arrived = None
                return _BROKEN_OFF
            dispatch.arrived = update
        dispatch.now_s = end_s = start_s + duration_s
        if end_s > start_s or num_bytes or flops:
            row = (client, activity, "done", is_slow, start_s, end_s, version, modality, num_bytes, flops, None)
            self._values += row
        return _NO_SPANS
