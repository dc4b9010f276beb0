"""The page's title and its question, unless the user asks another."""

from collections.abc import Sequence

from interlude.analysis.choices import labels_of
from interlude.analysis.fields import differences, shown, some_of
from interlude.analysis.points import varied_fields
from interlude.analysis.runs import Groups, common_name

_MOST_NAMED = 8  # methods in a sentence
_MOST_FIELDS = 3


def title_of(groups: Groups) -> str:
    """Return what the page is about: the scenario or the sweep, and how many points it has."""
    if len(groups) == 1:
        return next(iter(groups))
    origins = list(dict.fromkeys(str(group[0].origin["scenario"]) for group in groups.values()))
    fields = varied_fields(groups)
    if len(origins) == 1 and fields:
        over = _listed(fields) if len(fields) <= _MOST_FIELDS else f"{len(fields)} fields"
        return f"{origins[0]}, {len(groups)} points of {over}"
    names = list(groups)
    return f"{common_name(names) or some_of(names)}, {len(groups)} scenarios"


def question_of(groups: Groups) -> str:
    """Return the question: what the sweep varies, how scenarios differ, or how methods compare."""
    records = [record for group in groups.values() for record in group]
    labels = labels_of(records)
    methods = _listed(labels) if len(labels) <= _MOST_NAMED else f"{len(labels)} methods"
    is_timing_only = all(record.info.get("timing_only") for record in records)
    results = f"{'staleness' if is_timing_only else 'accuracy, time to reach it'}, bytes and device time"
    if fields := varied_fields(groups):
        swept = [group[0].origin["swept"] for group in groups.values()]
        varied = _listed([f"{field} ({_values([values.get(field) for values in swept])})" for field in fields])
        return f"How do {results} of {methods} depend on {varied}?"
    if len(groups) > 1:
        differ = {path: values for path, values in differences(records).items() if not path.startswith("the ")}
        found = [f"{path} ({_values(values)})" for path, values in list(differ.items())[:_MOST_FIELDS]]
        also = [f"{len(differ) - _MOST_FIELDS} further fields"] if len(differ) > _MOST_FIELDS else []
        where = f"{len(groups)} scenarios" + (f" that differ in {_listed([*found, *also])}" if found else "")
        return f"How do {results} of {methods} compare in {where}?"
    if len(labels) == 1:
        return f"How does {labels[0]} perform in this simulated world: {results}?"
    return f"In the same simulated world, with common random numbers, how do {methods} compare in {results}?"


def _listed(texts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


def _values(values: Sequence[object]) -> str:
    return some_of(list(dict.fromkeys(map(shown, values))))
