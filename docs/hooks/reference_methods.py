"""The pages of methods: the formula cards that `interlude explain` prints, and the lists of `interlude list`."""

import textwrap
from collections.abc import Iterator, Sequence

from markup import escaped, table

from interlude.simulator.cli.cards import card
from interlude.simulator.cli.lists import LISTS
from interlude.simulator.methods import METHODS

_LISTED = {
    "datasets": ("Data sets", "`data.dataset`; [Data](../data.md) describes each."),
    "distributions": ("Distributions", "For every quantity of a [world](fields/world.md#distributions)."),
    "encoders": ("Encoders", "`model.encoder`; or [your own](../own-code.md#an-encoder-or-a-fusion-head)."),
    "scenarios": ("Scenarios", "Those that are shipped, for every command that takes a scenario."),
}


def method_pages() -> Iterator[tuple[str, str]]:
    """Yield each method's name and page."""
    for name in METHODS:
        (title, about), (_, options), *_ = card(METHODS[name])
        said = [(str(term), str(text)) for term, text in about.cells]
        parts = [f"# {escaped(title)}", f"`name: {name}` in a scenario; `interlude explain {name}` prints this page."]
        for place, (term, text) in enumerate(said):
            if place == 0 or said[place - 1][0] != term:
                parts.append(f"## {_HEADINGS.get(term, term.capitalize())}")
            parts.append(_paragraphs(text, is_item=term in _LISTS))
        parts += ["## Options", table(options.header, [_option(*map(str, cells)) for cells in options.cells])]
        parts.append(
            "`server` takes a [rule with options of its own](../fields/methods.md#barrier), `training` any field of "
            "the section [training](../fields/scenario.md#trainingspec)."
        )
        yield name, "\n\n".join(parts) + "\n"


def lists_page() -> str:
    """Return the names that a scenario can use, but for methods."""
    parts = ["# Names that a scenario can use", "`interlude list WHAT` prints these lists."]
    for what, (title, about) in _LISTED.items():
        rows = LISTS[what]()
        cells = [[f"`{name}`", *map(escaped, rest)] for name, *rest in (map(str, row) for row in rows.cells)]
        parts += [f"## {title}", about, table(rows.header, cells)]
    return "\n\n".join(parts) + "\n"


_HEADINGS = {"paper": "Paper", "limit case": "Limits", "RECONSTRUCTION": "What is reconstructed"}
_LISTS = ("limit case", "RECONSTRUCTION")


def _option(name: str, default: str, allowed: str, meaning: str) -> Sequence[str]:
    return [f"`{name}`", f"`{default}`" if default else "", escaped(allowed), escaped(meaning)]


def _paragraphs(text: str, is_item: bool) -> str:
    """Return a text of a card: indented lines are formulas, all others paragraphs."""
    parts: list[str] = []
    formulas: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith(" "):
            formulas.append(line)
            continue
        if formulas:
            parts.append("\n".join(["```text", textwrap.dedent("\n".join(formulas)), "```"]))
            formulas = []
        if line:
            parts.append(escaped(line))
    if not is_item:
        return "\n\n".join(parts)
    return "* " + "\n\n".join(parts).replace("\n", "\n    ")
