"""What each platform accepts, checked before anything is sent."""

import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttp_mcp.platforms import rules
from ttp_mcp.platforms.rules import Draft, check_draft, media_kind, text_length
from ttp_mcp.platforms.rules_text import render_rules
from ttp_mcp.toolkit.platform_data import PLATFORM_DATA_SCHEMA, parse_platform_data

JPG, PNG, GIF, MP4 = (f"https://media.example/one.{name}" for name in ("jpg", "png", "gif", "mp4"))
PLAIN = "https://media.example/one"
TIKTOK = {
    "privacy": "PUBLIC_TO_EVERYONE",
    "allowComments": True,
    "allowDuet": False,
    "allowStitch": False,
    "yourBrand": False,
    "brandedContent": False,
}


def make_draft(platform, content="Good morning", media=(), thread=(), data=None, accounts=1, scheduled=True):
    """A post for one platform."""
    return Draft(
        content=content,
        platform=platform,
        media_urls=tuple(media),
        media_kinds=tuple(map(media_kind, media)),
        thread=tuple(thread),
        platform_data=data or {},
        accounts_on_platform=accounts,
        scheduled=scheduled,
    )


def list_findings(*args, **kwargs):
    """The severities and codes of all findings of a post."""
    return [(finding.severity, finding.code) for finding in check_draft(make_draft(*args, **kwargs))]


@pytest.mark.requirement("rules.text")
@pytest.mark.parametrize(
    ("platform", "most"),
    [
        ("twitter", 280),
        ("instagram", 2200),
        ("tiktok", 2200),
        ("threads", 500),
        ("linkedin", 3000),
        ("bluesky", 300),
        ("mastodon", 500),
        ("pinterest", 500),
    ],
)
def test_text_of_exactly_the_limit_passes_and_one_more_is_an_error(platform, most):
    """The error has the length, the limit, and how much to cut; also for a draft."""
    assert text_length(platform, "a" * most).count == most
    assert text_length(platform, "a").limit == most
    for scheduled in (True, False):
        media, data = [JPG], {"tiktok": TIKTOK, "pinterest": {"boardId": "board_1"}}
        assert list_findings(platform, "a" * most, media, data=data, scheduled=scheduled) == []
        (finding,) = check_draft(make_draft(platform, "a" * (most + 1), media, data=data, scheduled=scheduled))
        assert (finding.severity, finding.code, finding.platform) == ("error", "text_too_long", platform)
        assert f"content has {most + 1} of {most} characters" in finding.text
        assert "shorten it by 1" in finding.text


@pytest.mark.requirement("rules.text")
def test_text_too_long_for_telegram_is_only_a_warning():
    """The platform states its limit, the vendor does not say how it posts there."""
    assert list_findings("telegram", "a" * 4097) == [("warning", "text_too_long")]


@pytest.mark.requirement("rules.text")
@pytest.mark.parametrize(
    ("platform", "text", "count"),
    [
        ("twitter", "see https://example.com/a/very/long/path 👨‍👩‍👧‍👦", 30),
        ("bluesky", "👨‍👩‍👧‍👦e\u0301", 2),
        ("threads", "a👍", 5),
        ("threads", "é", 1),
        ("mastodon", "see https://example.com/a/very/long/path", 27),
        ("mastodon", "HTTP://example.com example.com", 35),
        ("mastodon", "@ada@example.social hi", 7),
        ("mastodon", "me@example.social", 17),
        ("linkedin", "👍", 1),
        ("elsewhere", "👍👍", 2),
    ],
)
def test_each_platform_counts_in_its_own_unit(platform, text, count):
    """X weighs, Bluesky counts graphemes, Threads an emoji's bytes, Mastodon links as 23; else code points."""
    assert text_length(platform, text).count == count


@pytest.mark.requirement("rules.text")
def test_text_length_of_an_unknown_platform_has_no_limit():
    """Its unit is named."""
    length = text_length("elsewhere", "abc")
    assert (length.count, length.limit, length.unit) == (3, None, "characters")


@pytest.mark.requirement("rules.text")
def test_text_that_fits_only_in_code_points_is_a_warning_where_the_unit_is_not_stated():
    """2,200 characters with an emoji are 2,201 where an emoji counts 2."""
    (finding,) = check_draft(make_draft("instagram", "a" * 2199 + "👍", [JPG]))
    assert (finding.severity, finding.code) == ("warning", "text_may_be_too_long")
    assert "2201 if an emoji counts 2" in finding.text


@pytest.mark.requirement("rules.text")
def test_characters_that_x_refuses_are_an_error():
    """A byte order mark comes from pasted files."""
    (finding,) = check_draft(make_draft("twitter", "\ufeffhello"))
    assert (finding.severity, finding.code) == ("error", "invalid_character")
    assert "U+FEFF" in finding.text


@pytest.mark.requirement("rules.text")
def test_bytes_links_and_hashtags_have_limits_of_their_own():
    """Bluesky limits bytes too, Threads different links, Instagram hashtags."""
    assert list_findings("bluesky", ("e" + "\u0301" * 10) * 150) == [("error", "too_many_bytes")]
    links = [f"https://example.com/{number}" for number in range(6)]
    assert list_findings("threads", " ".join(links)) == [("error", "too_many_links")]
    assert list_findings("threads", " ".join(links[:5] * 3)) == []
    assert list_findings("instagram", "#tag " * 31, [JPG]) == [("warning", "too_many_hashtags")]


@pytest.mark.requirement("rules.text")
def test_empty_post_is_an_error_and_an_empty_draft_a_warning():
    """Media without text pass."""
    assert list_findings("linkedin", "  ") == [("error", "nothing_to_post")]
    assert list_findings("linkedin", "", scheduled=False) == [("warning", "nothing_to_post")]
    assert list_findings("linkedin", "", [JPG]) == []


@pytest.mark.requirement("rules.thread")
def test_thread_is_checked_part_by_part():
    """Each part has 1 to 280 weighted characters."""
    findings = check_draft(make_draft("twitter", thread=["fine", " ", "漢" * 141]))
    assert [(finding.code, finding.severity) for finding in findings] == [
        ("thread_part_empty", "error"),
        ("text_too_long", "error"),
    ]
    assert "part 2 of thread" in findings[0].text
    assert "part 3 of thread has 282 of 280" in findings[1].text


@pytest.mark.requirement("rules.thread")
@pytest.mark.parametrize(
    ("entries", "expected"),
    [(23, []), (24, [("warning", "too_many_thread_posts")]), (25, [("error", "too_many_thread_entries")])],
)
def test_thread_of_24_posts_in_all_is_safe(entries, expected):
    """Only the reference allows one more; two more are never allowed."""
    assert list_findings("twitter", thread=["part"] * entries) == expected


@pytest.mark.requirement("rules.thread")
def test_thread_of_25_posts_is_reported_in_one_sentence():
    """The count, who allows it, and what to do."""
    (finding,) = check_draft(make_draft("twitter", thread=["part"] * 24))
    assert finding.text == (
        "X: the thread has 25 posts with content, which the reference allows and the vendor's own tools do not; leave out 1 "
        "to be safe."
    )


@pytest.mark.requirement("rules.thread")
def test_thread_on_another_platform_is_reported_as_left_out():
    """The post may go to X as well, so it is no error."""
    assert list_findings("linkedin", thread=["part"]) == [("warning", "thread_left_out")]


@pytest.mark.requirement("rules.media")
@pytest.mark.parametrize(
    ("platform", "media", "data", "expected"),
    [
        ("instagram", [], {}, [("error", "media_missing")]),
        ("instagram", [PLAIN], {}, []),
        ("instagram", [JPG, MP4], {}, []),
        ("instagram", [JPG] * 11, {}, [("warning", "too_many_media")]),
        ("twitter", [JPG] * 4, {}, []),
        ("twitter", [JPG] * 5, {}, [("error", "too_many_media")]),
        ("twitter", [MP4] * 2, {}, [("error", "too_many_videos")]),
        ("twitter", [GIF] * 2, {}, [("warning", "too_many_animations")]),
        ("twitter", [JPG, MP4], {}, [("warning", "media_mixed")]),
        ("twitter", [PLAIN, MP4], {}, []),
        ("tiktok", [], {"tiktok": TIKTOK}, [("error", "media_missing")]),
        ("tiktok", [JPG, MP4], {"tiktok": TIKTOK}, [("warning", "media_mixed")]),
        ("pinterest", [], {"pinterest": {"boardId": "b"}}, [("error", "media_missing")]),
        ("pinterest", [JPG, PNG], {"pinterest": {"boardId": "b"}}, [("error", "too_many_media")]),
        ("pinterest", [MP4], {"pinterest": {"boardId": "b"}}, [("warning", "too_many_videos")]),
        ("bluesky", [JPG] * 5, {}, [("error", "too_many_media")]),
        ("mastodon", [JPG] * 5, {}, [("warning", "too_many_media")]),
    ],
)
def test_media_are_counted_and_their_kinds_guessed(platform, media, data, expected):
    """Counts are certain, kinds only hinted at by the file extension."""
    assert list_findings(platform, media=media, data=data) == expected


@pytest.mark.requirement("rules.media")
def test_media_kind_comes_from_the_extension_alone():
    """A URL without one is of unknown kind."""
    assert [media_kind(url) for url in (JPG, GIF, MP4, PLAIN, "x", "https://a.b/c.pdf?d.png")] == [
        "image",
        "animation",
        "video",
        "unknown",
        "unknown",
        "unknown",
    ]


@pytest.mark.requirement("rules.draft")
def test_what_is_missing_from_a_draft_is_a_warning():
    """The same post with a time gets errors."""
    expected = ["media_missing", "field_missing"]
    for platform in ("tiktok", "pinterest"):
        assert list_findings(platform, scheduled=False) == [("warning", code) for code in expected]
        assert list_findings(platform) == [("error", code) for code in expected]


@pytest.mark.requirement("rules.tiktok")
def test_tiktok_needs_each_choice_of_the_owner():
    """Each missing one is named with its choices; nothing has a default."""
    (finding,) = check_draft(make_draft("tiktok", media=[MP4], data={"tiktok": {"privacy": "", "allowDuet": False}}))
    assert finding.code == "field_missing"
    for words in ("privacy (PUBLIC_TO_EVERYONE, ", "allowComments (true or false)", "brandedContent", "owner chooses"):
        assert words in finding.text
    assert "allowDuet" not in finding.text


@pytest.mark.requirement("rules.tiktok")
@pytest.mark.parametrize(
    ("change", "media", "accounts", "expected"),
    [
        ({}, MP4, 1, []),
        ({}, MP4, 2, [("error", "too_many_accounts")]),
        ({"privacy": "FRIENDS"}, MP4, 1, [("error", "field_invalid")]),
        ({"privacy": 1}, MP4, 1, [("error", "field_invalid")]),
        ({"allowDuet": "no"}, MP4, 1, [("error", "field_invalid")]),
        ({"brandedContent": True, "privacy": "SELF_ONLY"}, MP4, 1, [("error", "branded_content_private")]),
        ({"allowDuet": True}, MP4, 1, []),
        ({"allowDuet": True}, JPG, 1, [("warning", "photo_switches")]),
        ({"other": 1}, MP4, 1, [("warning", "unknown_field")]),
    ],
)
def test_tiktok_choices_are_validated(change, media, accounts, expected):
    """One account, values of the right kind, no branded content in private, no duets of photos."""
    assert list_findings("tiktok", media=[media], data={"tiktok": TIKTOK | change}, accounts=accounts) == expected


@pytest.mark.requirement("rules.pinterest")
@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"boardId": "b", "title": "t" * 100, "altText": "a" * 500, "link": "https://a.example"}, []),
        ({"boardId": "b", "title": None}, []),
        ({}, [("error", "field_missing")]),
        ({"boardId": "b", "title": "t" * 101}, [("error", "field_invalid")]),
        ({"boardId": "b", "altText": "a" * 501}, [("error", "field_invalid")]),
        ({"boardId": 7}, [("error", "field_invalid")]),
        ("b", [("error", "field_invalid")]),
    ],
)
def test_pinterest_fields_are_validated(block, expected):
    """A board, and texts within their limits."""
    assert list_findings("pinterest", media=[JPG], data={"pinterest": block}) == expected


@pytest.mark.requirement("rules.unknown")
def test_unknown_platform_passes_with_a_warning():
    """Platforms that the file names without figures too."""
    assert list_findings("elsewhere", "a" * 100_000) == [("warning", "no_rules")]
    assert list_findings("facebook") == [("warning", "no_rules")]


@pytest.mark.requirement("rules.unknown")
def test_undocumented_block_is_named_the_same_for_every_platform():
    """So that it can be said once."""
    data = {"tiktok": TIKTOK, "elsewhere": {}}
    one, other = (check_draft(make_draft(platform, data=data)) for platform in ("linkedin", "threads"))
    assert one == other
    assert [(finding.code, finding.platform) for finding in one] == [("unknown_block", "elsewhere")]


@pytest.mark.requirement("rules.unknown")
@settings(deadline=None)
@given(
    platform=st.sampled_from([*rules.platform_keys(), "X", "elsewhere"]),
    content=st.text(max_size=400),
    media=st.lists(st.sampled_from([JPG, GIF, MP4, PLAIN, "", "http://[x.jpg", "."]), max_size=12),
    thread=st.lists(st.text(max_size=300), max_size=26),
    data=st.dictionaries(
        st.sampled_from(["tiktok", "pinterest", "other"]),
        st.none()
        | st.integers()
        | st.dictionaries(st.sampled_from([*TIKTOK, "title"]), st.none() | st.text() | st.booleans()),
    ),
    scheduled=st.booleans(),
)
def test_any_post_is_checked_without_failing_and_errors_come_first(platform, content, media, thread, data, scheduled):
    """Any input gets short sentences."""
    findings = check_draft(make_draft(platform, content, media, thread, data, scheduled=scheduled))
    ranks = [("error", "warning").index(finding.severity) for finding in findings]
    assert ranks == sorted(ranks)
    assert all(len(finding.text) <= 400 for finding in findings)


@pytest.mark.requirement("rules.data")
def test_every_figure_has_a_source_and_a_confidence():
    """And the version in the code is the version of the file."""
    raw = json.loads(resources.files("ttp_mcp.platforms").joinpath("rules.json").read_text("utf-8"))
    assert raw["version"] == rules.VERSION
    figures = [figure for each in raw["platforms"].values() for figure in (*each["rules"], *each["fields"])]
    assert len(figures) > 40
    for figure in figures:
        assert figure["source"].partition(":")[0] in raw["sources"], figure
        assert figure["confidence"] in raw["confidence"], figure
        if figure["confidence"] == "reported":
            assert re.fullmatch(r"other schedulers' documentation: [A-Z][^:]+", figure["source"], re.IGNORECASE), figure
        if figure.get("otherwise") == "error":
            assert figure["confidence"] == "stated", figure


@pytest.mark.requirement("rules.data")
def test_rules_are_readable_with_their_sources():
    """As a resource shows them; X can be asked for by its new name."""
    text = render_rules("X")
    assert text == render_rules("twitter")
    assert text.startswith("X (platform key twitter), rules of ")
    assert "- text: at most 280 weighted characters" in text
    assert "[reference]" in text
    assert render_rules("pinterest").count("exactly one image [vendor]") == 1
    assert "none has a default" in render_rules("tiktok")
    assert "no figure is stated" in render_rules("youtube")
    assert "No rules are known" in render_rules("elsewhere")


@pytest.mark.requirement("rules.data")
def test_documentation_matches_the_rules():
    """Word for word, for each platform."""
    page = (Path(__file__).parents[2] / "docs" / "platform-rules.md").read_text("utf-8")
    for key in rules.platform_keys():
        assert render_rules(key).partition("\n")[2] in page, key


@pytest.mark.requirement("rules.data")
def test_nothing_is_read_at_import():
    """Starting the server reads no rules."""
    program = (
        "import sys, ttp_mcp.platforms.rules as rules\n"
        "from ttp_mcp.platforms.graphemes import character_data\n"
        "print(rules._read_rules.cache_info().currsize, character_data.cache_info().currsize)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["0", "0"]


def test_schema_of_platform_data_has_the_fields_and_choices_of_the_rules():
    """It is written by hand, so that a start doesn't read the rules."""
    fields = {
        key: rules.find_platform(key).fields for key in (*rules.platform_keys(),) if rules.find_platform(key).fields
    }
    blocks = PLATFORM_DATA_SCHEMA["properties"]
    assert blocks.keys() == fields.keys()
    for key, block in blocks.items():
        spelled = parse_platform_data({key: dict.fromkeys(block["properties"], True)})[key]
        assert [{"board": "boardId"}.get(name, name) for name in spelled] == list(fields[key])
        for field, schema in zip(fields[key].values(), block["properties"].values(), strict=True):
            assert schema["type"] == ("boolean" if field.kind == "switch" else "string")
            assert schema.get("enum", []) == list(field.choices)
