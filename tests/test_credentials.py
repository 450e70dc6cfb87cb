"""The token, and redaction as the last step."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttp_mcp.credentials import Token, TokenProblem, redact, token_in

HEX = "0123456789abcdef" * 3
TEXT = f"ttp_{HEX}"
TOKENS = st.text("0123456789abcdef", min_size=48, max_size=48).map(lambda digits: f"ttp_{digits}")
SECRET = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~%", min_size=16, max_size=80)


@pytest.mark.requirement("credentials.token")
@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "begin with ttp_"),
        ("sk_" + HEX, "begin with ttp_"),
        (" " + TEXT, "begin with ttp_"),
        (TEXT[:-1], "52 characters and has 51"),
        (TEXT + "0", "52 characters and has 53"),
        (TEXT + "\n\n", "52 characters and has 53"),
        (TEXT[:-2] + "\r\n" + "0", "52 characters and has 53"),
        (TEXT[:-1] + "g", "only the digits"),
        (TEXT.upper().replace("TTP", "ttp"), "only the digits"),
        (TEXT[:-1] + "٣", "only the digits"),
        (TEXT[:20] + "\n" + TEXT[21:], "only the digits"),
    ],
)
def test_malformed_token_is_refused_by_the_rule_and_not_repeated(text, rule):
    with pytest.raises(TokenProblem, match=rule) as caught:
        Token(text)
    assert text == "" or text[4:12] not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.requirement("credentials.token")
@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\r"])
def test_one_line_end_is_forgiven(ending):
    assert Token(TEXT + ending).reveal() == TEXT


@pytest.mark.requirement("credentials.token")
def test_token_shows_only_a_fingerprint():
    token = Token(TEXT)
    for shown in (repr(token), str(token), f"{token}", repr([token]), str(hash(token))):
        assert not any(TEXT[start : start + 6] in shown for start in range(4, 46))
    assert repr(token) == f"Token({token.fingerprint})"
    assert len(token.fingerprint) == 8
    assert token == Token(TEXT)
    assert hash(token) == hash(Token(TEXT))
    assert token != Token("ttp_" + "f" * 48)
    assert token != TEXT


@pytest.mark.requirement("credentials.token")
@pytest.mark.parametrize("take", [copy.copy, copy.deepcopy, pickle.dumps, vars])
def test_token_is_not_copied_or_taken_apart(take):
    with pytest.raises(TypeError) as caught:
        take(Token(TEXT))
    assert HEX[:8] not in str(caught.value)


@pytest.mark.requirement("credentials.token")
def test_token_among_arguments_is_found():
    assert token_in(["--token", TEXT])
    assert token_in([f"--token={TEXT}"])
    assert not token_in(["--sandbox", TEXT[:-1], "ttp_"])
    assert not token_in([])


@pytest.mark.requirement("credentials.redact")
@given(TOKENS, st.text(max_size=30), st.text(max_size=30))
def test_no_token_survives_at_any_position(token, before, after):
    shown = redact(before + token + after)
    assert token[4:] not in shown
    assert token[4:16] not in shown or token[4:16] in before + after
    assert redact(shown) == shown


@pytest.mark.requirement("credentials.redact")
@pytest.mark.parametrize(
    "form",
    [
        "https://s.example/a?X-Amz-Signature={}",
        "https://s.example/a?a=b&x-amz-signature={}&c=d",
        "X-Amz-Security-Token={}",
        "https://s.example/a?X-Goog-Signature={}",
        "https://s.example/a?sig={}",
        "https://s.example/a?a=b&amp;signature={}",
        "https://s.example/a?a=b&token={}#x",
        "next=https%3A%2F%2Fs.example%2Fa%3Fb%3Dc%26X-Amz-Signature%3D{}",
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
@given(st.text(st.sampled_from("ttp_0af Bearer?&=sigtoken[]redacted\"' X-Amz-Signature%3D:/@"), max_size=80))
def test_redaction_twice_is_as_once(text):
    once = redact(text)
    assert redact(once) == once


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
    ],
)
def test_ordinary_posts_are_left_alone(text):
    assert redact(text) == text
