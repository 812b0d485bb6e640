"""Which instance ids are allowed, and that no two of them share a file."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durablecli.errors import UsageError
from durablecli.model.ids import check_instance_id, entity_file_name, file_name, make_child_id, new_id, shard

ANY_TEXT = st.text(st.characters(codec=None), max_size=300)


def test_a_new_id_is_32_hex_digits_and_new() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in ids)


@pytest.mark.parametrize(
    "good", ["tour-7", "A", "x" * 256, "é" * 256, "a b", "..", "-rf", "tour-7:2a:5", "a@b", "日本"]
)
def test_an_allowed_id_comes_back_as_it_is(good: str) -> None:
    assert check_instance_id(good) == good


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ("", "must not be empty"),
        ("@counter@k", "must not start with @"),
        ("x" * 257, "Instance ID lengths must not exceed 256 characters."),
        *[(f"a{c}b", r"must not contain /, \\, #, \?, or control characters") for c in "/\\#?\0\n\x1f\x7f\x85\x9f"],
        ("a\ud800b", "lone surrogate"),
        ("\udfff", "lone surrogate"),
        (7, "must be strings, not int"),
    ],
)
def test_a_forbidden_id_is_refused_with_its_reason(bad: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        check_instance_id(bad)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("tour-7", "tour-7"),
        ("batch_1-0000123", "batch_1-0000123"),
        ("x" * 150, "x" * 150),
        ("A", "%41"),
        ("a", "a"),
        ("tour-7:2a:5", "tour-7%3a2a%3a5"),
        (".", "%2e"),
        ("..", "%2e%2e"),
        ("", "%"),
        ("%", "%25"),
        ("-rf", "%2drf"),
        ("a/b", "a%2fb"),
        ("../../etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd"),
        ("@counter@k", "%40counter%40k"),
        ("x.jsonl.tmp", "x%2ejsonl%2etmp"),
        ("a\0b", "a%00b"),
        ("tour-7\n", "tour-7%0a"),
        ("é", "%c3%a9"),
        (unicodedata.normalize("NFD", "é"), "e%cc%81"),
        ("\ud800", "%ed%a0%80"),
    ],
)
def test_a_file_name_reads_as_documented(name: str, file: str) -> None:
    assert file_name(name) == file


@pytest.mark.parametrize("name", ["É" * 256, "x" * 151, "x" * 300, "-" * 151, "A" * 51])
def test_a_long_name_ends_in_a_hash(name: str) -> None:
    assert len(file_name(name)) == 150
    assert re.search(r"~[0-9a-f]{64}$", file_name(name))
    assert file_name(name) != file_name(name[:-1] + "y")


@given(ANY_TEXT)
def test_a_file_name_is_safe(name: str) -> None:
    assert re.fullmatch(
        r"(%|[a-z0-9_]|%[0-9a-f]{2})([a-z0-9_-]|%[0-9a-f]{2}|%[0-9a-f]?~[0-9a-f]{64}|~[0-9a-f]{64})*", file_name(name)
    )
    assert len(file_name(name)) <= 150


def folded(name: str) -> str:
    return unicodedata.normalize("NFC", file_name(name)).casefold()


@given(ANY_TEXT, ANY_TEXT)
def test_different_names_never_share_a_file(one: str, other: str) -> None:
    assert (folded(one) == folded(other)) == (one == other)


@given(st.text("aA-.%~é2d", max_size=4), st.text("aA-.%~é2d", max_size=4))
def test_names_that_look_alike_never_share_a_file(one: str, other: str) -> None:
    assert (folded(one) == folded(other)) == (one == other)


@pytest.mark.parametrize(
    ("id", "file"),
    [
        ("@counter@a", "counter@a"),
        ("@counter@A", "counter@%41"),
        ("@counter@a@b", "counter@a%40b"),
        ("@counter@../../etc/passwd", "counter@%2e%2e%2f%2e%2e%2fetc%2fpasswd"),
        ("@..@..", "%2e%2e@%2e%2e"),
        ("@-rf@-rf", "%2drf@%2drf"),
        ("@a@x.jsonl.tmp", "a@x%2ejsonl%2etmp"),
        ("@a@\0", "a@%00"),
        ("@a@", "a@"),
        ("@a", "a"),
        ("@a@" + "x" * 148, "a@" + "x" * 148),
    ],
)
def test_the_file_name_of_an_entity_reads_as_documented(id: str, file: str) -> None:
    assert entity_file_name(id) == file


@pytest.mark.parametrize("id", ["@a@" + "x" * 149, "@" + "x" * 149 + "@a", "@é@" + "É" * 250, "@" + "x" * 300])
def test_the_file_name_of_an_entity_with_a_long_id_ends_in_a_hash(id: str) -> None:
    assert len(entity_file_name(id)) == 150
    assert re.search(r"~[0-9a-f]{64}$", entity_file_name(id))
    assert entity_file_name(id) != entity_file_name(id[:-1] + "y")


@given(st.text("@aA-.%~é2d", max_size=5), st.text("@aA-.%~é2d", max_size=5))
def test_different_entities_never_share_a_file(one: str, other: str) -> None:
    names = [unicodedata.normalize("NFC", entity_file_name(f"@{each}")).casefold() for each in (one, other)]
    assert (names[0] == names[1]) == (one == other)


@given(ANY_TEXT)
def test_swapping_case_or_unicode_form_is_another_file(name: str) -> None:
    for variant in (name.swapcase(), unicodedata.normalize("NFD", name), unicodedata.normalize("NFC", name)):
        assert (folded(name) == folded(variant)) == (name == variant)


def test_shards_are_two_hex_digits_and_evenly_filled() -> None:
    shards = [shard(f"batch-{number}") for number in range(25_600)]
    assert all(re.fullmatch(r"[0-9a-f]{2}", one) for one in shards)
    counts = [shards.count(f"{number:02x}") for number in range(256)]
    assert min(counts) > 50
    assert max(counts) < 200


def test_the_shard_of_a_name_stays_what_it_was() -> None:
    assert [shard("tour-7"), shard("É"), shard("\ud800"), shard("")] == ["98", "f6", "28", "00"]


def test_a_child_is_named_after_parent_execution_and_ordinal_in_hex() -> None:
    assert make_child_id("tour-7", "2a", 5) == "tour-7:2a:5"
    assert make_child_id("tour-7", "2a", 255) == "tour-7:2a:ff"


def test_a_long_parent_part_becomes_its_hash() -> None:
    exactly = make_child_id("p" * 251, "2a", 5)
    assert len(exactly) == 256
    assert exactly.startswith("p")
    child = make_child_id("p" * 252, "2a", 5)
    assert re.fullmatch(r"[0-9a-f]{64}:2a:5", child)
    assert child != make_child_id("p" * 253, "2a", 5)
    grandchild = make_child_id(child, "2b", 1)
    assert grandchild == f"{child}:2b:1"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\#?@"), min_size=1, max_size=256))
def test_the_child_of_an_allowed_parent_has_an_allowed_id(parent: str) -> None:
    child = make_child_id(check_instance_id(parent), "ffffffff", 100_000)
    assert check_instance_id(child) == child
