"""The words for a client's activities, the same in all figures."""

_LABELS = {
    "wait": "wait for data",
    "train_unimodal": "uni-modal training",
    "train": "joint training",
    "stalled": "stalled by an outage",
    "backoff": "backoff before a retry",
}


def activity_label(activity: str, *, is_slow: bool = False) -> str:
    """Return the label of an activity of the timeline, with a straggler's slow mode where it trained in it."""
    label = _LABELS.get(activity, activity)
    return f"{label}, slow mode" if is_slow else label
