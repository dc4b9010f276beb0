"""Tweets as numbers: cleaning, words of any script, a vocabulary that does not depend on order."""

import random

import numpy as np
import pytest

from interlude.simulator.data.text import Vocabulary, clean, tokens


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("RT @user: Flooding in #Houston http://t.co/abc now", "@user: Flooding in Houston now"),
        ("  RT: help", "help"),
        ("RTE news, not RT", "RTE news, not RT"),
        ("see www.fema.gov or HTTPS://x.y/z?a=b#c", "see or"),
        ("stuckhttps://t.co/1", "stuck"),
        ("#", ""),
        ("", ""),
    ],
)
def test_cleaning_is_that_of_the_paper(text, cleaned):
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Don't PANIC!! 3,000 homes", ["don't", "panic", "3", "000", "homes"]),
        ("it\u2019s 'over'", ["it's", "over"]),
        ("\u00c9cole E\u0301COLE na\u00efve", ["\u00e9cole", "\u00e9cole", "na\u00efve"]),
        ("\u5730\u9707 \u0417\u0435\u043c\u043b\u044f", ["\u5730\u9707", "\u0437\u0435\u043c\u043b\u044f"]),
        (
            "pray\U0001f64f\U0001f64f \u2764\ufe0f \U0001f1f2\U0001f1fd",
            ["pray", "\U0001f64f", "\U0001f64f", "\u2764", "\U0001f1f2", "\U0001f1fd"],
        ),
        ("snake_case _ @red_cross $5", ["snake_case", "_", "red_cross", "$", "5"]),
        ("... \u200d \u0301 --", []),
        ("", []),
    ],
)
def test_tokens_are_words_and_symbols(text, found):
    assert tokens(text) == found


TEXTS = ["water water water", "fire fire", "storm storm zebra", "RT #Fire http://a.b", "apple"]


def test_numbers_go_by_frequency_then_alphabet_and_leave_room_for_padding_and_unknown():
    vocabulary = Vocabulary.learn(TEXTS, num_words=4)
    assert vocabulary.words == ("fire", "water", "storm", "apple")  # 3, 3, 2; apple before zebra
    assert vocabulary.num_tokens == 6
    assert vocabulary.encode("Storm over #WATER zebra", 6).tolist() == [4, 1, 3, 1, 0, 0]
    assert vocabulary.encode("fire water storm", 2).tolist() == [2, 3]
    empty = vocabulary.encode("http://only.a/link", 3)
    assert empty.tolist() == [0, 0, 0]
    assert empty.dtype == np.int32


def test_the_order_of_texts_changes_no_number():
    shuffled = TEXTS * 3
    random.Random(0).shuffle(shuffled)
    assert Vocabulary.learn(shuffled, 10) == Vocabulary.learn(TEXTS * 3, 10)


def test_a_vocabulary_of_nothing_knows_only_the_unknown():
    vocabulary = Vocabulary.learn(["", "..."], 10)
    assert vocabulary.num_tokens == 2
    assert vocabulary.encode("a b", 3).tolist() == [1, 1, 0]
