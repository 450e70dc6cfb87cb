"""The token, and redaction as the last step."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttp_mcp.credentials import Token, TokenProblem, has_token, may_hold_token, parse_token, redact, redact_tokens

HEX = "0123456789abcdef" * 3
TEXT = f"ttp_{HEX}"
TOKENS = st.text("0123456789abcdef", min_size=48, max_size=48).map(lambda digits: f"ttp_{digits}")
SECRET = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~%", min_size=16, max_size=80)


@pytest.mark.requirement("credentials.token")
@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "it must begin with ttp_."),
        ("sk_" + HEX, "it must begin with ttp_."),
        (" " + TEXT, "it must begin with ttp_."),
        (TEXT[:-1], "it must have 52 characters and has 51."),
        (TEXT + "0", "it must have 52 characters and has 53."),
        (TEXT + "\n\n", "it must have 52 characters and has 53."),
        (TEXT[:-2] + "\r\n" + "0", "it must have 52 characters and has 53."),
        (TEXT[:-1] + "g", "after ttp_ it must have only the digits 0–9 and a–f."),
        (TEXT.upper().replace("TTP", "ttp"), "after ttp_ it must have only the digits 0–9 and a–f."),
        (TEXT[:-1] + "٣", "after ttp_ it must have only the digits 0–9 and a–f."),
        (TEXT[:20] + "\n" + TEXT[21:], "after ttp_ it must have only the digits 0–9 and a–f."),
    ],
)
def test_malformed_token_is_refused_by_rule_without_repeating_it(text, rule):
    with pytest.raises(TokenProblem) as caught:
        Token(text)
    assert str(caught.value) == rule
    assert text == "" or text[4:12] not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.requirement("credentials.token")
@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\r"])
def test_one_trailing_line_break_is_ignored(ending):
    assert Token(TEXT + ending).reveal() == TEXT


@pytest.mark.requirement("credentials.token")
@pytest.mark.parametrize(
    "form",
    [
        "{}",
        " {}\n\n",
        '"{}"',
        "'{}'",
        "Bearer {}",
        "bearer  {}",
        "Authorization: Bearer {}",
        "TTP_API_TOKEN={}",
        'TTP_API_TOKEN = "{}"',
        "export TTP_API_TOKEN='{}'\r\n",
        '$env:TTP_API_TOKEN = "{}"\r\n',
        "set TTP_API_TOKEN={}\r\n",
        '"Bearer {}"',
        "\ufeff{}",
        '\ufeff"{}"',
    ],
)
def test_pasted_token_is_parsed(form):
    assert parse_token(form.format(TEXT)).reveal() == TEXT


@pytest.mark.requirement("credentials.token")
@pytest.mark.parametrize("text", ["", '""', "Bearer", "TTP_API_TOKEN=", f"X={TEXT}", f"{TEXT} {TEXT}", f"<{TEXT}>"])
def test_pasted_text_that_is_not_a_token_is_refused_without_repeating_it(text):
    with pytest.raises(TokenProblem) as caught:
        parse_token(text)
    assert HEX[:8] not in str(caught.value)


@pytest.mark.requirement("credentials.token")
def test_token_shows_only_a_fingerprint():
    token = Token(TEXT)
    for shown in (repr(token), str(token), f"{token}", repr([token]), str(hash(token))):
        assert not any(TEXT[start : start + 6] in shown for start in range(4, 46))
    assert repr(token) == f"Token({token.fingerprint})"
    assert len(token.fingerprint) == 8
    assert token == Token(TEXT)
    assert hash(token) == hash(Token(TEXT))
    assert token != (other := Token("ttp_" + "f" * 48))
    assert hash(token) != hash(other)
    assert token != TEXT


@pytest.mark.requirement("credentials.token")
@pytest.mark.parametrize("take", [copy.copy, copy.deepcopy, pickle.dumps, vars])
def test_token_is_not_copied_or_taken_apart(take):
    with pytest.raises(TypeError) as caught:
        take(Token(TEXT))
    assert HEX[:8] not in str(caught.value)


@pytest.mark.requirement("credentials.token")
@pytest.mark.parametrize("take", [copy.copy, copy.deepcopy, pickle.dumps])
def test_copying_a_token_fails_with_its_reason(take):
    with pytest.raises(TypeError, match=r"^a token can't be copied or pickled$"):
        take(Token(TEXT))


@pytest.mark.requirement("credentials.token")
def test_token_among_arguments_is_found():
    assert has_token(["--token", TEXT])
    assert has_token([f"--token={TEXT}"])
    assert not has_token(["--sandbox", TEXT[:-1], "ttp_"])
    assert not has_token([])


@pytest.mark.requirement("credentials.redact")
@given(TOKENS, st.text(max_size=30), st.text(max_size=30))
def test_no_token_survives_at_any_position(token, before, after):
    shown = redact(before + token + after)
    assert token not in shown
    assert token[4:16] not in shown or token[4:16] in before + after
    assert redact(shown) == shown


@pytest.mark.requirement("credentials.redact")
@pytest.mark.parametrize("prefix", ["ttp_", "TTP_", "ttp%5f", "ttp%5F"])
@pytest.mark.parametrize("length", [6, 48, 60])
def test_anything_of_the_form_of_a_token_is_redacted(prefix, length):
    """Redact tokens that this process never had, truncated ones, and ones encoded in a URL."""
    given = f"Mine: {prefix}{(HEX + HEX)[:length]}."
    assert redact(given) == redact_tokens(given) == "Mine: [redacted]."
    assert may_hold_token(given.encode())


@pytest.mark.requirement("credentials.redact")
def test_digits_alone_are_left_as_they_are():
    """Ids, digests and times are not tokens, and neither are digits that a token of this process has."""
    Token(TEXT)
    for text in (
        HEX,
        HEX[:12],
        "550e8400-e29b-41d4-a716-446655440000",
        "e3b0c44298fc1c149afbf4c8996fb924",
        "1764061320000",
    ):
        assert redact(text) == redact_tokens(text) == text
        assert not may_hold_token(text.encode())


@pytest.mark.requirement("credentials.redact")
@pytest.mark.parametrize(
    "form",
    [
        "https://s.example/a?X-Amz-Signature={}",
        "https://s.example/a?a=b&x-amz-signature={}&c=d",
        "X-Amz-Security-Token={}",
        "X-Goog-Credential={}",
        "X-Goog-Signature={}",
        "https://s.example/a?X-Goog-Signature={}",
        "https://s.example/a?sig={}",
        "https://s.example/a?a=b&amp;signature={}",
        "https://s.example/a?a=b&token={}#x",
        "next=https%3A%2F%2Fs.example%2Fa%3Fb%3Dc%26X-Amz-Signature%3D{}",
        "https://s.example/a?x-oss-signature={}",
        "https://s.example/a?a=b&q-signature={}",
        "https://s.example/a?access_token={}",
        "https://s.example/a?a=b;api_key={}&c=d",
        "https://s.example/a?X_API_Key={}",
        "next=https%3A%2F%2Fs.example%2Fa%3Fsig%3D{}",
        "next=https%253A%252F%252Fs.example%252Fa%253Fb%253Dc%2526sig%253D{}",
        "next=https%253a%252f%252fs.example%252fa%253faccess_token%253d{}",
        r'{{"url": "https://s.example/a?a=b\u0026x-oss-signature={}"}}',
        '{{"X-Amz-Signature": "{}"}}',
        "Authorization: Bearer {}",
        "authorization: bearer  {}",
        "postgresql://user:{}@db.example/ttp",
        "can't reach redis://:{}@10.0.0.5:6379/0.",
        "https://{}@s.example/a",
    ],
)
@given(secret=SECRET)
def test_no_signature_survives(form, secret):
    shown = redact(form.format(secret))
    assert secret not in shown
    assert "[redacted]" in shown
    assert redact(shown) == shown


@pytest.mark.requirement("credentials.redact")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9", "Authorization: Bearer [redacted]"),
        ("https://user:password@s.example/a", "https://[redacted]@s.example/a"),
        ("https://s.example/a?a=b&sig=abc&c=d", "https://s.example/a?a=b&sig=[redacted]&c=d"),
        (f"a {TEXT} b", "a [redacted] b"),
    ],
)
def test_redaction_leaves_the_name_and_the_place_of_a_secret(text, shown):
    assert redact(text) == shown


@pytest.mark.requirement("credentials.redact")
def test_half_of_a_character_does_not_stop_redaction():
    """Clients can send lone surrogates in JSON."""
    assert redact_tokens(f"\ud800 {TEXT}") == redact(f"\ud800 {TEXT}") == "\ud800 [redacted]"


@pytest.mark.requirement("credentials.redact")
@given(st.text(st.sampled_from("ttp_0af Bearer?&;=sigtoken[]redacted\"' X-Amz-Signature%3D%256:/@"), max_size=80))
def test_redaction_is_idempotent(text):
    once = redact(text)
    assert redact(once) == once


@pytest.mark.requirement("credentials.redact")
@pytest.mark.parametrize("text", ["Bearer ;?sig=a", "://?sig=a/b&c@d", "x://%3Fsig%3Da“&b@c", "Bearer a-b-c?token=d&e"])
def test_redaction_is_idempotent_if_it_makes_another_secret(text):
    """A redaction can lengthen a value, or put a user before the host of a URL."""
    once = redact(text)
    assert redact(once) == once


@pytest.mark.requirement("credentials.redact")
def test_signed_url_that_was_asked_for_stays_usable():
    """Signatures are removed from logs and errors only."""
    url = (
        "https://s.example/a?x-oss-signature=abc&q-signature=def&access_token=ghi&next=%3Fsig%3Djkl%2526api_key%253Dmno"
    )
    assert redact_tokens(url) == url


@pytest.mark.requirement("credentials.redact")
@pytest.mark.parametrize(
    "text",
    [
        "A bearer of good news",
        "Our token=free day",
        "https://shop.example/?utm_source=x&design=1",
        "ttp_mcp and ttp_abc",
        "Signature cocktails at 6",
        "https://medium.example/@ada/a-post and mail@ada.example",
        "3://4 of us: see @ada",
        "https://shop.example/?design=1&tokens=2&signature_dish=soup&q=token",
    ],
)
def test_ordinary_posts_are_left_alone(text):
    assert redact(text) == text


@pytest.mark.requirement("credentials.redact")
def test_bearer_value_in_a_parameter_is_redacted_whole():
    """The word before it is not the value."""
    assert redact("https://a.example/?token=Bearer eyJhbGciOiJIUzI1NiJ9.secret") == (
        "https://a.example/?token=Bearer [redacted]"
    )
