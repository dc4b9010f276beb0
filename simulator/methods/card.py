"""The formula card of a method: what `interlude explain` prints."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FormulaCard:
    """What a reader needs to know before comparing with a method."""

    title: str
    paper: str
    """Full citation."""
    client: str
    """What a client does and minimises."""
    server: str
    """How the server merges."""
    payload: str
    """What travels down and up."""
    waits: str
    """What waits for what."""
    staleness: str
    """What staleness means and does."""
    reconstructed: tuple[str, ...] = ()
    """What no paper states and this project filled in."""
    limits: tuple[str, ...] = ()
    """Settings under which it is another method."""
