"""The formula card: a small parser of class docstrings."""

import re
from pathlib import Path

import pytest

from interlude.simulator.methods import METHODS, PLACES
from interlude.simulator.methods.card import FormulaCard, card_of


class Whole:
    """Whole: every section.

    Notation: w are
    the weights.

    Paper:
        A. Author, A Title,
        2020.
    Client:
        per mini-batch
            L   = CE
            g_k = dL / dw
        and then nothing
        else.

        A second paragraph.
    Server:
            a <- 1
              + 2
    Payload:
        down; up
    Waits:
        for all
    Staleness:
        always 0
    Reconstructed:
        * one item
          on two lines
        * an item with a formula
            x = 1
    Limits:
        no asterisk,
        one item
    """


class OnlyTitle:
    """Mine: a title."""


class WithoutDocstring:
    pass


class Child(Whole):
    pass


class UnknownSection:
    """A title.

    Args:
        options: some.

    Server:
        mean
    Hardware:
        a GPU
    """


def test_every_section_is_read():
    assert card_of(Whole) == FormulaCard(
        title="Whole: every section",
        about="Notation: w are the weights.",
        paper="A. Author, A Title, 2020.",
        client="per mini-batch\n    L   = CE\n    g_k = dL / dw\nand then nothing else.\nA second paragraph.",
        server="a <- 1\n  + 2",
        payload="down; up",
        waits="for all",
        staleness="always 0",
        reconstructed=("one item on two lines", "an item with a formula\n  x = 1"),
        limits=("no asterisk, one item",),
    )


def test_missing_sections_are_empty():
    assert card_of(OnlyTitle) == FormulaCard(title="Mine: a title")


@pytest.mark.parametrize("method", [WithoutDocstring, Child])
def test_a_class_without_a_docstring_of_its_own_is_titled_by_its_name(method):
    assert card_of(method) == FormulaCard(title=method.__name__)


def test_unknown_sections_belong_to_the_description():
    card = card_of(UnknownSection)
    assert card.about == "Args:\n    options: some.\nHardware:\n    a GPU"
    assert card.server == "mean"


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_the_table_has_a_whole_card(name):
    card = card_of(METHODS[name])
    assert all((card.paper, card.client, card.server, card.payload, card.waits, card.staleness, card.limits))
    assert not re.search(r"^(Args|Raises|Note):", card.about, re.MULTILINE)


def test_the_documentation_has_a_row_of_every_method_in_the_order_of_the_table():
    page = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.+?)` \|", page, re.MULTILINE)
    assert rows == list(PLACES)
