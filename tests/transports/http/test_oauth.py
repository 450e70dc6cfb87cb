"""OAuth access tokens from an issuer in this process: which are accepted, and what clients can discover."""

import base64
import itertools
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.transports.http.conftest import KEY
from tests.transports.http.upstream import make_token
from ttp_mcp.transports.http.auth import ServerKey
from ttp_mcp.transports.http.jwks import IssuerKeys
from ttp_mcp.transports.http.oauth import AccessTokens

pytestmark = pytest.mark.requirement("http.oauth")

ISSUER = "https://login.example.com/tenant"
RESOURCE = "https://mcp.example.com/mcp"
OAUTH = {"oauth_issuer": ISSUER, "oauth_resource": RESOURCE}
JWKS = "https://login.example.com/keys"
METADATA = "/.well-known/oauth-authorization-server/tenant"
MAKERS = {
    ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
    rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
    ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
}
BY_CHANCE = 57209


class Issuer:
    """An issuer as an ASGI application. `documents` are its answers by path; a path that is missing answers 404."""

    def __init__(self):
        self.keys = {"a": ec.generate_private_key(ec.SECP256R1())}
        self.asked = []
        self.documents = {
            METADATA: {"issuer": ISSUER, "jwks_uri": JWKS},
            "/keys": self.jwks(),
        }

    def jwks(self, **more):
        """The public halves."""
        found = []
        for kid, key in self.keys.items():
            maker = next(maker for kind, maker in MAKERS.items() if isinstance(key, kind))
            found.append({**json.loads(maker.to_jwk(key.public_key())), "kid": kid, **more})
        return {"keys": [*found, {"kty": "oct"}]}

    def token(self, kid="a", *, key=None, algorithm="ES256", headers=None, **claims):
        """A token that is good unless said otherwise; a claim of None is left out."""
        base = {"iss": ISSUER, "aud": RESOURCE, "exp": int(time.time()) + 300, "sub": "user-1", "client_id": "app"}
        kept = {name: value for name, value in {**base, **claims}.items() if value is not None}
        return jwt.encode(
            kept, key or self.keys["a"], algorithm, headers={"kid": kid, "typ": "at+jwt", **(headers or {})}
        )

    async def app(self, scope, receive, send):
        """Answer a document."""
        self.asked.append(scope["path"])
        found = self.documents.get(scope["path"])
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        await send({"type": "http.response.start", "status": 404 if found is None else 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def issuer():
    """A good issuer."""
    return Issuer()


@pytest.fixture
def monotonic_seconds():
    """Monotonic seconds, in a list of one."""
    return [1000.0]


@pytest.fixture
def access_tokens(issuer, monotonic_seconds):
    """What checks tokens."""
    return AccessTokens(ISSUER, RESOURCE, IssuerKeys(ISSUER, app=issuer.app, monotonic=lambda: monotonic_seconds[0]))


async def test_token_of_the_issuer_for_this_server_is_accepted(access_tokens, issuer):
    token = issuer.token(scope="read write")
    access = await access_tokens.verify_token(token)
    assert (access.client_id, access.subject, access.scopes) == ("app", "user-1", ["read", "write"])
    assert (access.resource, access.claims) == (RESOURCE, {"iss": ISSUER})
    assert (access.token, access.expires_at) == ("", jwt.decode(token, options={"verify_signature": False})["exp"])


@pytest.mark.parametrize(
    ("claims", "client", "subject", "scopes"),
    [
        ({"azp": "web"}, "app", "user-1", []),
        ({"client_id": None, "azp": "web"}, "web", "user-1", []),
        ({"client_id": None}, "user-1", "user-1", []),
        ({"client_id": None, "sub": None}, "unknown", None, []),
        ({"scope": ["read"]}, "app", "user-1", []),
    ],
)
async def test_client_is_named_by_the_first_claim_with_a_name(access_tokens, issuer, claims, client, subject, scopes):
    access = await access_tokens.verify_token(issuer.token(**claims))
    assert (access.client_id, access.subject, access.scopes) == (client, subject, scopes)


KEY_MAKERS = {
    "RS": lambda _: rsa.generate_private_key(65537, 2048),
    "PS": lambda _: rsa.generate_private_key(65537, 2048),
    "ES": lambda bits: ec.generate_private_key(
        {"256": ec.SECP256R1(), "384": ec.SECP384R1(), "512": ec.SECP521R1()}[bits]
    ),
    "Ed": lambda _: ed25519.Ed25519PrivateKey.generate(),
}


@pytest.mark.parametrize(
    "algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
)
async def test_token_is_accepted_with_each_public_key_algorithm(access_tokens, issuer, algorithm):
    issuer.keys["b"] = KEY_MAKERS[algorithm[:2]](algorithm[2:])
    issuer.documents["/keys"] = issuer.jwks()
    token = issuer.token("b", key=issuer.keys["b"], algorithm=algorithm)
    assert await access_tokens.verify_token(token) is not None


@pytest.mark.parametrize(
    ("kind", "is_accepted"),
    [(None, True), ("JWT", True), ("at+jwt", True), ("application/at+jwt", True), ("dpop+jwt", False)],
)
async def test_token_is_accepted_by_its_kind(access_tokens, issuer, kind, is_accepted):
    access = await access_tokens.verify_token(issuer.token(headers={"typ": kind}))
    assert (access is not None) == is_accepted


async def test_longest_token_is_accepted(access_tokens, issuer):
    """16 KiB; a longer one isn't read at all."""
    padded = [issuer.token(pad="x" * 11_900, headers={"x": "y" * size}) for size in range(100, 200)]
    longest = next(token for token in padded if len(token) == 16 * 1024)
    too_long = next(token for token in padded if len(token) > 16 * 1024)
    assert await access_tokens.verify_token(longest) is not None
    assert await access_tokens.verify_token(too_long) is None


@pytest.mark.parametrize(("seconds", "is_accepted"), [(-20, True), (-40, False)])
async def test_clocks_of_issuer_and_server_may_differ_by_half_a_minute(access_tokens, issuer, seconds, is_accepted):
    now = int(time.time())
    expired = await access_tokens.verify_token(issuer.token(exp=now + seconds))
    early = await access_tokens.verify_token(issuer.token(nbf=now - seconds))
    assert (expired is not None, early is not None) == (is_accepted, is_accepted)


async def test_refused_token_is_logged_by_reason_only(access_tokens, issuer, caplog):
    caplog.set_level("INFO")
    assert await access_tokens.verify_token(issuer.token(exp=1)) is None
    assert caplog.messages[-1:] == ["access token refused: ExpiredSignatureError"]


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://other.example/mcp"},
        {"aud": None},
        {"aud": RESOURCE + "x"},
        {"aud": RESOURCE.removesuffix("/mcp")},
        {"iss": ISSUER + "/"},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"exp": 1},
        {"exp": None},
        {"nbf": 4_000_000_000},
    ],
)
async def test_token_with_other_claims_is_refused(access_tokens, issuer, claims):
    assert await access_tokens.verify_token(issuer.token(**claims)) is None


@pytest.mark.parametrize(
    "claims", [{"aud": [RESOURCE, "x"]}, {"aud": RESOURCE + "/"}, {"sub": None, "client_id": None}]
)
async def test_token_for_several_audiences_with_ours_is_accepted(access_tokens, issuer, claims):
    assert await access_tokens.verify_token(issuer.token(**claims)) is not None


async def test_token_that_the_issuer_did_not_sign_is_refused(access_tokens, issuer):
    stranger = ec.generate_private_key(ec.SECP256R1())
    forged = [
        issuer.token(key=stranger),
        issuer.token(kid="b"),
        issuer.token(headers={"typ": "logout+jwt"}),
        issuer.token(headers={"typ": "id_token+jwt"}),
        issuer.token(key="shared" * 10, algorithm="HS256"),
        issuer.token(key=rsa.generate_private_key(65537, 2048), algorithm="RS256"),
        jwt.encode({"iss": ISSUER, "aud": RESOURCE, "exp": 4_000_000_000}, None, "none", headers={"kid": "a"}),
        jwt.encode({"iss": ISSUER, "aud": RESOURCE, "exp": 4_000_000_000}, issuer.keys["a"], "ES256"),
        "not.a.token",
        "",
        "x" * 20_000,
    ]
    assert [await access_tokens.verify_token(token) for token in forged] == [None] * len(forged)


async def test_issuer_is_not_asked_about_a_token_that_can_never_be_valid(access_tokens, issuer):
    """Anyone can send one."""
    invalid = [
        jwt.encode({"iss": ISSUER, "aud": RESOURCE, "exp": 4_000_000_000}, issuer.keys["a"], "ES256"),
        issuer.token(headers={"typ": "id_token+jwt"}),
        issuer.token(key="shared" * 10, algorithm="HS256"),
        "not.a.token",
    ]
    assert [await access_tokens.verify_token(token) for token in invalid] == [None] * len(invalid)
    assert issuer.asked == []


async def test_symmetric_key_is_ignored(access_tokens, issuer):
    """Everyone can read it there."""
    secret = b"s" * 64
    listed = {"kty": "oct", "kid": "s", "k": base64.urlsafe_b64encode(secret).decode().rstrip("=")}
    issuer.documents["/keys"]["keys"].append(listed)
    assert await access_tokens.verify_token(issuer.token()) is not None
    for algorithm in ("HS256", "HS384", "HS512"):
        assert await access_tokens.verify_token(issuer.token("s", key=secret, algorithm=algorithm)) is None


@pytest.mark.parametrize("more", [{"use": "enc"}, {"alg": "ES384"}])
async def test_key_for_another_use_is_not_used(access_tokens, issuer, more):
    issuer.documents["/keys"] = issuer.jwks(**more)
    assert await access_tokens.verify_token(issuer.token()) is None


async def test_keys_are_refetched_for_a_new_key_with_a_limit(access_tokens, issuer, monotonic_seconds):
    """Not for every unknown key id."""
    good = issuer.token()
    for _ in range(3):
        assert await access_tokens.verify_token(good)
        assert await access_tokens.verify_token(issuer.token(kid="invented")) is None
    assert issuer.asked.count("/keys") == 1
    issuer.keys["b"] = rsa.generate_private_key(65537, 2048)
    issuer.documents["/keys"] = issuer.jwks()
    renewed = issuer.token("b", key=issuer.keys["b"], algorithm="RS256")
    monotonic_seconds[0] += 59
    assert await access_tokens.verify_token(renewed) is None
    monotonic_seconds[0] += 1
    assert await access_tokens.verify_token(renewed)
    monotonic_seconds[0] += 3599
    assert await access_tokens.verify_token(good)
    assert issuer.asked.count("/keys") == 2
    monotonic_seconds[0] += 1
    assert await access_tokens.verify_token(good)
    assert issuer.asked.count("/keys") == 3


async def test_withdrawn_key_is_accepted_for_an_hour_at_most(access_tokens, issuer, monotonic_seconds):
    """The issuer withdraws keys that leaked."""
    assert await access_tokens.verify_token(issuer.token())
    issuer.keys["b"] = issuer.keys.pop("a")
    issuer.documents["/keys"] = issuer.jwks()
    monotonic_seconds[0] += 3600
    assert await access_tokens.verify_token(issuer.token(key=issuer.keys["b"])) is None


@pytest.mark.parametrize(
    ("path", "document", "cause"),
    [
        ("/keys", None, "HTTPStatusError"),
        ("/keys", b"<html>", "ValueError"),
        ("/keys", {"other": []}, "KeyError"),
        ("/keys", {"keys": 1}, "TypeError"),
        ("/keys", b'{"keys": []}'.ljust(256 * 1024 + 1), "ValueError"),
        (METADATA, None, "LookupError"),
        (METADATA, {"issuer": "https://evil.example", "jwks_uri": JWKS}, "LookupError"),
        (METADATA, {"issuer": ISSUER + "/", "jwks_uri": JWKS}, "LookupError"),
        (METADATA, {"issuer": ISSUER, "jwks_uri": "http://login.example.com/keys"}, "LookupError"),
        (METADATA, {"issuer": ISSUER, "jwks_uri": JWKS + "\x7f"}, "InvalidURL"),
        (METADATA, {"issuer": ISSUER}, "KeyError"),
    ],
)
async def test_unreadable_issuer_accepts_no_token(access_tokens, issuer, caplog, path, document, cause):
    issuer.documents[path] = document
    assert await access_tokens.verify_token(issuer.token()) is None
    assert caplog.messages == [f"The keys of TTP_OAUTH_ISSUER could not be fetched: {cause}"]


async def test_largest_document_of_an_issuer_is_read(access_tokens, issuer):
    """256 KiB."""
    issuer.documents["/keys"] = json.dumps(issuer.documents["/keys"]).encode().ljust(256 * 1024)
    assert await access_tokens.verify_token(issuer.token())


async def test_keys_are_kept_while_the_issuer_is_down(access_tokens, issuer, monotonic_seconds):
    assert await access_tokens.verify_token(issuer.token())
    issuer.documents.clear()
    monotonic_seconds[0] += 4000
    assert await access_tokens.verify_token(issuer.token())


async def test_openid_connect_metadata_is_found_too(access_tokens, issuer):
    issuer.documents["/tenant/.well-known/openid-configuration"] = issuer.documents.pop(METADATA)
    assert await access_tokens.verify_token(issuer.token())


async def test_server_key_is_accepted_beside_access_tokens_when_it_is_set(issuer):
    keys = IssuerKeys(ISSUER, app=issuer.app)
    both = AccessTokens(ISSUER, RESOURCE, keys, ServerKey(KEY))
    access = await both.verify_token(KEY)
    assert (access.client_id, access.token, access.resource) == ("TTP_SERVER_KEY", "", RESOURCE)
    assert await both.verify_token(KEY + "x") is None


async def test_client_discovers_the_issuer_and_is_served(start_server, issuer):
    async with start_server(**OAUTH, more={"issuer_app": issuer.app}) as web:
        refused = await web.rpc("tools/list")
        metadata = await web.http.get("/.well-known/oauth-protected-resource/mcp")
        served = await web.rpc("tools/list", authorization=f"Bearer {issuer.token()}")
        wrong = await web.rpc("tools/list", authorization=f"Bearer {issuer.token(aud='https://other.example')}")
        foreign = await web.rpc("tools/list", authorization=f"Bearer {issuer.token(iss='https://other.example')}")
        passed_on = await web.rpc("tools/list", authorization=f"Bearer {make_token(1)}")
        figures = await web.http.get("/metrics")
    assert {answer.status_code for answer in (refused, wrong, foreign, passed_on)} == {401}
    assert "/.well-known/oauth-protected-resource/mcp" in refused.headers["www-authenticate"]
    assert metadata.json()["resource"] == RESOURCE
    assert metadata.json()["authorization_servers"] == [ISSUER]
    assert served.status_code == 200
    assert figures.status_code == 404


@pytest.mark.parametrize("resource", [RESOURCE, RESOURCE + "/", "https://mcp.example.com/X"])
async def test_final_slash_of_the_resource_makes_no_difference(issuer, resource):
    """In the setting, and in a token."""
    tokens = AccessTokens(ISSUER, resource, IssuerKeys(ISSUER, app=issuer.app))
    for audience in (resource.rstrip("/"), resource.rstrip("/") + "/"):
        assert await tokens.verify_token(issuer.token(aud=audience)) is not None
    for audience in (resource.rstrip("/") + "//", resource.rstrip("/")[:-1]):
        assert await tokens.verify_token(issuer.token(aud=audience)) is None


async def test_metrics_need_the_key_beside_an_issuer(start_server, issuer):
    """Access tokens are for MCP."""
    async with start_server(**OAUTH, server_key=KEY, more={"issuer_app": issuer.app}) as web:
        statuses = [
            (await web.http.get("/metrics", headers={"authorization": f"Bearer {value}"})).status_code
            for value in (KEY, KEY + "x", issuer.token())
        ]
        without = await web.http.get("/metrics")
    assert (statuses, without.status_code) == ([200, 401, 401], 401)


async def test_metadata_needs_no_key(start_server, issuer):
    """A client without a token reads where to get one."""
    async with start_server(**OAUTH, server_key=KEY, more={"issuer_app": issuer.app}) as web:
        metadata = await web.http.get("/.well-known/oauth-protected-resource/mcp")
        other = await web.http.get("/.well-known/oauth-protected-resource")
    assert (metadata.status_code, other.status_code) == (200, 404)


async def test_page_of_a_listed_origin_reads_the_metadata(start_server, issuer):
    """The SDK adds its own CORS header, and two would be invalid."""
    page = "https://app.example.com"
    async with start_server(**OAUTH, allowed_origins=(page,), more={"issuer_app": issuer.app}) as web:
        metadata = await web.http.get("/.well-known/oauth-protected-resource/mcp", headers={"origin": page})
    assert metadata.headers.get_list("access-control-allow-origin") == [page]


async def test_access_token_that_contains_an_api_token_prefix_is_accepted(start_server, issuer):
    issuer.keys["e"] = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    issuer.documents["/keys"] = issuer.jwks()
    # These signatures are the same each time: the first number is one that fits, found by trying.
    tokens = (
        issuer.token("e", key=issuer.keys["e"], algorithm="EdDSA", exp=4102444800, jti=str(number))
        for number in itertools.count(BY_CHANCE)
    )
    token = next(each for each in tokens if "ttp_" in each.rpartition(".")[2].lower())
    async with start_server(**OAUTH, more={"issuer_app": issuer.app}) as web:
        response = await web.rpc("tools/list", authorization=f"Bearer {token}")
    assert response.status_code == 200


async def test_multi_tenant_callers_need_an_access_token_and_their_own(start_server, issuer):
    options = {"multi_tenant": True}
    async with start_server(**OAUTH, options=options, server_key=KEY, more={"issuer_app": issuer.app}) as web:
        access = f"Bearer {issuer.token()}"
        statuses = [
            (await web.rpc("tools/list", **headers)).status_code
            for headers in (
                {"authorization": access},
                {"x_timetopost_token": make_token(1)},
                {"authorization": access, "x_timetopost_token": make_token(1)},
                {"authorization": f"Bearer {KEY}", "x_timetopost_token": make_token(1)},
            )
        ]
    assert statuses == [401, 401, 200, 200]


@pytest.mark.parametrize(
    ("variable", "value", "cause"),
    [
        (
            "ALL_PROXY",
            "socks5://user:secret@127.0.0.1:9/",
            (
                "ALL_PROXY doesn't name an HTTP proxy, and this server speaks no SOCKS. Set HTTPS_PROXY to an HTTP proxy, or "
                "NO_PROXY=login.example.com to connect without one, and restart this server."
            ),
        ),
        (
            "SSL_CERT_FILE",
            "/nowhere/ca.pem",
            "SSL_CERT_FILE names certificates that can't be read. Correct or remove it, and restart this server.",
        ),
    ],
)
async def test_network_setting_that_cannot_be_used_is_a_warning_with_the_next_step(
    monkeypatch, caplog, variable, value, cause
):
    """The API client has the same words; a token is refused until then."""
    for name in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv(variable, value)
    assert await IssuerKeys(ISSUER).find("a") is None
    assert [record.getMessage() for record in caplog.records] == [
        f"The keys of TTP_OAUTH_ISSUER could not be fetched: {cause}"
    ]
