"""Files that are no scenario get one sentence."""

from itertools import pairwise

import pytest
from sentences import assert_says, sentence_about

from interlude.simulator.scenario.yaml_reader import read_yaml


def test_merge_keys_are_read_and_keys_of_ones_own_go_first(tmp_path):
    path = tmp_path / "merged.yaml"
    path.write_text("a: &a {b: 1, c: 2}\nd: {<<: *a, c: 3}\n")
    assert read_yaml(path) == {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}


LAUGHS = "a: &a [x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in pairwise("abcdefghij"))
"""A billion values in ten lines."""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("# nothing but a remark\n", "is empty"),
        ("- a\n- b\n", "must be a mapping of sections, not a list"),
        ("just words\n", "not a str"),
        ("42\n", "not a int"),
        ("name: [a\n", "not valid YAML"),
        ("name: a\n\tseed: 1\n", "line 2: not valid YAML"),
        ("name: a\nseed: 1\nname: b\n", "line 3: not valid YAML: the key 'name' is given twice"),
        ("name: a\nclients: {count: 1, count: 2}\n", "the key 'count' is given twice"),
        ("name: !!python/object/apply:os.system ['true']\n", "line 1: not valid YAML"),
        ("name: !!python/object:interlude.simulator.errors.BadInputError {}\n", "not valid YAML"),
        ("name: !custom 3\n", "not valid YAML"),
        ("? [a, b]\n: 1\n", "a key must be a name"),
        ("? !!set {a}\n: 1\n", "not valid YAML"),
        ("name: *nowhere\n", "not valid YAML"),
        ("name: a\n---\nname: b\n", "not valid YAML"),
        ("seed: !!bool maybe\n", "not valid YAML"),
        ("seed: !!timestamp soon\n", "not valid YAML"),
        ("seed: !!int ''\n", "not valid YAML"),
        ("seed: !!int 2024-13-45\n", "not valid YAML: '2024-13-45' is not of the type int"),
        ("seed: " + 5000 * "9" + "\n", "not valid YAML"),
        ("a: " + 600 * "[" + "\n", "not valid YAML"),
        ("name: a\x00b\n", "not valid YAML"),
        ("1: 2\n", "1: unknown key '1'"),
        ("a: &a [*a]\n", "line 1: not valid YAML: an alias refers to a value that contains it"),
        (LAUGHS, "holds more than 100,000 values with its aliases expanded"),
        ("a: " + 101 * "[" + 101 * "]" + "\n", "nested deeper than 100 levels"),
        ("a: b\n" * 300_000, "larger than 1,000,000 bytes"),
        ("a: {<<: 3}\n", "not valid YAML"),
        ("name: !!binary 3\n", "not valid YAML"),
        ("name: !!python/name:os.system\n", "not valid YAML"),
        ("name: !!omap [a: 1]\n", "not valid YAML"),
        ('name: "\\ud800"\n', "name: should be a valid string"),
        ("data: &loop {dataset: cg-digits, partition: *loop}\n", "not valid YAML"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_file_that_is_not_a_scenario_is_one_sentence(tmp_path, text, said):
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    assert_says(path, said)


def test_a_file_that_is_not_utf8_is_one_sentence(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: caf\xe9\n".encode("latin-1"))
    assert_says(path, "is not UTF-8 text (byte 9)")


def test_a_missing_file_a_directory_and_a_name_that_is_too_long_are_one_sentence(tmp_path):
    assert_says(tmp_path / "missing.yaml", "cannot be read: No such file or directory")
    assert_says(tmp_path, "cannot be read: Is a directory")
    assert "...aaa" in sentence_about(tmp_path / ("a" * 300))
    assert "cannot be read: File name too long" in sentence_about(tmp_path / ("a" * 300))
