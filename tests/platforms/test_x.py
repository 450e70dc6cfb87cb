"""X's weighted length and the count of graphemes."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttp_mcp.platforms.graphemes import count_graphemes
from ttp_mcp.platforms.x import LIMIT, find_links, invalid_characters, weighted_length

CASES = json.loads((Path(__file__).with_name("x_length_cases.json")).read_text("utf-8"))


def expand_text(parts):
    """The text of a case, whose long repetitions are shortened to [part, times]."""
    if isinstance(parts, str):
        return parts
    return "".join(part if isinstance(part, str) else part[0] * part[1] for part in parts)


@pytest.mark.requirement("rules.x.length")
@pytest.mark.parametrize("case", CASES["lengths"], ids=range(len(CASES["lengths"])))
def test_weighted_length_of_each_official_case_is_the_published_one(case):
    """All cases of configuration version 3 give the published length."""
    assert weighted_length(expand_text(case["text"])) == case["length"]


@pytest.mark.requirement("rules.x.links")
@pytest.mark.parametrize("case", CASES["links"], ids=range(len(CASES["links"])))
def test_links_of_each_official_case_are_the_published_ones(case):
    """All cases of link extraction give the published links."""
    text = case["text"]
    assert [text[start:end] for start, end in find_links(text)] == case["links"]


@pytest.mark.requirement("rules.x.links")
@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("see example.com/a(b(c)d), or example.org.", ["example.com/a(b(c)d)", "example.org"]),
        ("これはexample.comです", ["example.com"]),
        ("https://例え.jp/道", ["https://例え.jp/"]),
        ("example.notaname and a.b", []),
        ("mail me@example.com", []),
        ("under_score.com and sub_domain.example.com", ["domain.example.com"]),
        ("\u4e00_a.com", []),
        ("HTTP://EXAMPLE.COM", ["HTTP://EXAMPLE.COM"]),
        ("https://xn--e1afmkfd.xn--p1ai/x", ["https://xn--e1afmkfd.xn--p1ai/x"]),
        ("https://xn--\u00e9.com", []),
        ("https://t.co/" + "a" * 41, []),
        ("https://t.co/abc!more", ["https://t.co/abc"]),
        ("https://" + "a" * 64 + ".com", []),
        ("a" * 64 + ".com", []),
        ("пример.рф", []),
        ("example.рф", ["example.рф"]),
        ("-example.com http://-example.com", []),
        ("https://twitter.vermögensberatung", ["https://twitter.vermögensberatung"]),
        ("http://a..com b.com", ["b.com"]),
        ("xhttp://example.com", []),
        ("http://example.com:8080/x?y=1&z", ["http://example.com:8080/x?y=1&z"]),
        ("example.com.zzz", ["example.com"]),
        ("example.comé.рфx", ["example.com"]),
        ("a.b.漢字.com", []),
        ("https://\ud800.com", ["https://\ud800.com"]),
    ],
)
def test_links_are_found_where_x_makes_them(text, links):
    """Punctuation, other scripts, unknown names and X's short links are treated as published."""
    assert [text[start:end] for start, end in find_links(text)] == links


@pytest.mark.requirement("rules.x.length")
@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", 0),
        ("a" * LIMIT, LIMIT),
        ("e\u0301", 1),
        ("漢字", 4),
        ("👨‍👩‍👧‍👦", 2),
        ("👍🏽", 2),
        ("🇫🇷", 2),
        ("🇦🇦", 4),
        ("🏴󠁧󠁢󠁳󠁣󠁴󠁿", 2),
        ("1️⃣", 2),
        ("❤️", 2),
        ("©", 1),
        ("©️", 2),
        ("☺\ufe0e", 4),
        ("… “quoted” – it’s", 18),
    ],
)
def test_weighted_length_follows_the_published_weights(text, length):
    """Letters 1, other scripts 2, an emoji 2 however many parts it has; the ellipsis weighs 2."""
    assert weighted_length(text) == length


@pytest.mark.requirement("rules.x.length")
@settings(deadline=None)
@given(st.text(), st.text())
def test_weighted_length_of_texts_apart_is_their_sum(one, other):
    """A line break that no link or emoji crosses adds exactly its own weight."""
    assert weighted_length(f"{one}\n\n{other}") == weighted_length(one) + 2 + weighted_length(other)


@pytest.mark.requirement("rules.x.links")
@settings(deadline=None)
@given(st.text(alphabet="a.é漢-_/:@( com\ufeffhttps"))
def test_links_never_overlap_and_lie_inside_the_text(text):
    """Each link has a beginning before its end, and ends before the next."""
    edges = [edge for link in find_links(text) for edge in link]
    assert edges == sorted(edges)
    assert all(0 <= edge <= len(text) for edge in edges)


@pytest.mark.requirement("rules.x.length")
def test_invalid_characters_are_named():
    """X refuses the byte order mark and the two non-characters beside it."""
    assert invalid_characters("a\ufeffb\uffff") == ["U+FEFF", "U+FFFF"]
    assert invalid_characters("plain") == []


@pytest.mark.requirement("rules.graphemes")
@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("plain", 5),
        ("a\r\nb", 3),
        ("é\r\n", 2),
        ("e\u0301\u0302", 1),
        ("👨‍👩‍👧‍👦👍🏽🇫🇷🇩🇪", 4),
        ("🇫🇷🇩", 2),
        ("❤️‍🔥", 1),
        ("한국어", 3),
        ("\u1112\u1161\u11ab\u1100\u1161", 2),
        ("가\u11a8각", 2),
        ("नमस्ते", 3),
        ("ตำ", 1),
        ("\u0600\u0661", 1),
        ("\u0301", 1),
        ("a\u200b\u0301", 3),
        ("\u1000\u102c", 2),
        ("1️⃣", 1),
        ("漢字かな", 4),
    ],
)
def test_graphemes_are_counted_as_a_reader_sees_them(text, count):
    """By UAX #29: marks, Hangul, conjuncts, prepended signs, emoji sequences and flags."""
    assert count_graphemes(text) == count


@pytest.mark.requirement("rules.graphemes")
@settings(deadline=None)
@given(st.text())
def test_graphemes_are_never_more_than_code_points(text):
    """And a text that is not empty has at least one."""
    assert min(1, len(text)) <= count_graphemes(text) <= len(text)
