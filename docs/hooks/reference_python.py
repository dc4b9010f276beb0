"""The page of the Python interface; mkdocstrings fills in signatures and docstrings."""

import interlude

_GROUPS = {
    "Scenarios and runs": (
        *("load_scenario", "load_scenarios", "parse_scenario", "run_scenario"),
        *("Scenario", "Callback"),
    ),
    "Records": ("load_records", "load_runs", "draw_figure", "RunRecord"),
    "Code of your own": ("dataset", "encoder", "fusion", "Dataset", "InputSpec"),
    "Errors": ("InterludeError", "BadInputError", "TrainingError"),
}


def python_page() -> str:
    """Return a page with every public name of the package.

    Raises:
        ValueError: if a public name is in no group, or a group has a name that is not public.
    """
    grouped = {name for names in _GROUPS.values() for name in names}
    if grouped != set(interlude.__all__):
        raise ValueError(f"docs/hooks/reference_python.py: group {sorted(grouped ^ set(interlude.__all__))}, too")
    parts = ["# The package `interlude`", "[From Python](../python.md) shows them in use."]
    for title, names in _GROUPS.items():
        parts += [f"## {title}", *(f"::: interlude.{name}" for name in names)]
    return "\n\n".join(parts) + "\n"
