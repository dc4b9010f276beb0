"""The formula card of a method, read from its class docstring: what `interlude explain` prints."""

import inspect
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_HEADINGS = frozenset(
    ("Paper:", "Client:", "Server:", "Payload:", "Waits:", "Staleness:", "Reconstructed:", "Limits:"),
)
_INDENT = "    "


@dataclass(frozen=True)
class FormulaCard:
    """What a reader needs to know before comparing with a method; what its docstring does not say is empty."""

    title: str
    about: str = ""
    """Description: notation, and what belongs to no section."""
    paper: str = ""
    """Full citation."""
    client: str = ""
    """What a client does and minimises."""
    server: str = ""
    """How the server selects and merges."""
    payload: str = ""
    """What travels down and up."""
    waits: str = ""
    """What waits for what."""
    staleness: str = ""
    """What staleness means and does."""
    reconstructed: tuple[str, ...] = ()
    """What no paper states and this project filled in."""
    limits: tuple[str, ...] = ()
    """Settings under which it is another method."""


def card_of(method: type) -> FormulaCard:
    """Return the formula card that a method's class docstring holds.

    The first line is the title. A section begins with one of the field names above and a colon on a line of its own;
    its lines are indented by four spaces and joined to one paragraph. Lines that are indented deeper, such as aligned
    formulas, are kept as they are. ``Reconstructed`` and ``Limits`` are lists of ``* items``. All other text is the
    description. A class without a docstring has only its name for a title.

    >>> class Halves(FormulaCard):
    ...     '''Halves: the mean of two clients.
    ...
    ...     Server:
    ...         theta <- theta_1 / 2
    ...         + theta_2 / 2
    ...     Limits:
    ...         * one client: local training
    ...     '''
    >>> card_of(Halves).title, card_of(Halves).server, card_of(Halves).limits
    ('Halves: the mean of two clients', 'theta <- theta_1 / 2 + theta_2 / 2', ('one client: local training',))
    """
    title, *lines = inspect.cleandoc(method.__doc__ or method.__name__).splitlines()
    sections = _sections(lines)
    return FormulaCard(
        title=title.removesuffix("."),
        about=_text(sections["about"]),
        paper=_text(sections["paper"]),
        client=_text(sections["client"]),
        server=_text(sections["server"]),
        payload=_text(sections["payload"]),
        waits=_text(sections["waits"]),
        staleness=_text(sections["staleness"]),
        reconstructed=_items(sections["reconstructed"]),
        limits=_items(sections["limits"]),
    )


def _sections(lines: Iterable[str]) -> dict[str, list[str]]:
    """Return the lines of each section without their indent; "about" has those outside all sections."""
    sections: dict[str, list[str]] = defaultdict(list)
    current = "about"
    for line in lines:
        if line in _HEADINGS:
            current = line.removesuffix(":").lower()
            continue
        if line and not line.startswith(" "):
            current = "about"
        sections[current].append(line if current == "about" else line.removeprefix(_INDENT))
    return sections


def _text(lines: Iterable[str]) -> str:
    """Join wrapped lines to paragraphs, one a line; indented lines stay lines of their own."""
    joined: list[str] = []
    goes_on = False
    for line in lines:
        is_kept = line.startswith(" ")
        if goes_on and line and not is_kept:
            joined[-1] += f" {line}"
        elif line:
            joined.append(line)
        goes_on = bool(line) and not is_kept
    return textwrap.dedent("\n".join(joined))


def _items(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the items that begin with an asterisk; text without one is one item."""
    items: list[list[str]] = []
    for line in lines:
        if line.startswith("* ") or not items:
            items.append([line.removeprefix("* ")])
        else:
            items[-1].append(line.removeprefix("  "))
    return tuple(text for text in map(_text, items) if text)
