"""OAuth access tokens against an issuer in this process: what is accepted, what is not, and what clients can find out."""

import itertools
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.transports.http.conftest import KEY
from tests.transports.http.upstream import token_of
from ttp_mcp.transports.http.auth import ServerKey
from ttp_mcp.transports.http.jwks import IssuerKeys, metadata_urls
from ttp_mcp.transports.http.oauth import AccessTokens

pytestmark = pytest.mark.requirement("http.oauth")

ISSUER = "https://login.example.com/tenant"
RESOURCE = "https://mcp.example.com/mcp"
OAUTH = {"oauth_issuer": ISSUER, "oauth_resource": RESOURCE}
JWKS = "https://login.example.com/keys"
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
            "/.well-known/oauth-authorization-server/tenant": {"issuer": ISSUER, "jwks_uri": JWKS},
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
def moment():
    """Monotonic seconds, in a list of one."""
    return [1000.0]


@pytest.fixture
def tokens(issuer, moment):
    """What checks tokens."""
    return AccessTokens(ISSUER, RESOURCE, IssuerKeys(ISSUER, app=issuer.app, monotonic=lambda: moment[0]))


async def test_a_token_of_the_issuer_for_this_server_is_accepted(tokens, issuer):
    access = await tokens.verify_token(issuer.token(scope="read write"))
    assert (access.client_id, access.subject, access.scopes) == ("app", "user-1", ["read", "write"])
    assert (access.resource, access.claims) == (RESOURCE, {"iss": ISSUER})
    assert access.token == ""


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://other.example/mcp"},
        {"aud": None},
        {"aud": RESOURCE + "x"},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"exp": 1},
        {"exp": None},
        {"nbf": 4_000_000_000},
    ],
)
async def test_a_token_with_other_claims_is_refused(tokens, issuer, claims):
    assert await tokens.verify_token(issuer.token(**claims)) is None


@pytest.mark.parametrize(
    "claims", [{"aud": [RESOURCE, "x"]}, {"aud": RESOURCE + "/"}, {"sub": None, "client_id": None}]
)
async def test_a_token_for_several_with_us_among_them_is_accepted(tokens, issuer, claims):
    assert await tokens.verify_token(issuer.token(**claims)) is not None


async def test_a_token_that_the_issuer_did_not_sign_is_refused(tokens, issuer):
    stranger = ec.generate_private_key(ec.SECP256R1())
    forged = [
        issuer.token(key=stranger),
        issuer.token(kid="b"),
        issuer.token(headers={"typ": "logout+jwt"}),
        issuer.token(key="shared" * 10, algorithm="HS256"),
        issuer.token(key=rsa.generate_private_key(65537, 2048), algorithm="RS256"),
        jwt.encode({"iss": ISSUER, "aud": RESOURCE, "exp": 4_000_000_000}, None, "none", headers={"kid": "a"}),
        jwt.encode({"iss": ISSUER, "aud": RESOURCE, "exp": 4_000_000_000}, issuer.keys["a"], "ES256"),
        "not.a.token",
        "",
        "x" * 20_000,
    ]
    assert [await tokens.verify_token(token) for token in forged] == [None] * len(forged)


@pytest.mark.parametrize("more", [{"use": "enc"}, {"alg": "ES384"}])
async def test_a_key_for_another_use_is_not_used(tokens, issuer, more):
    issuer.documents["/keys"] = issuer.jwks(**more)
    assert await tokens.verify_token(issuer.token()) is None


async def test_keys_are_fetched_once_and_again_when_a_new_one_appears_but_not_for_every_stranger(
    tokens, issuer, moment
):
    good = issuer.token()
    for _ in range(3):
        assert await tokens.verify_token(good)
        assert await tokens.verify_token(issuer.token(kid="invented")) is None
    assert issuer.asked.count("/keys") == 1
    issuer.keys["b"] = rsa.generate_private_key(65537, 2048)
    issuer.documents["/keys"] = issuer.jwks()
    moment[0] += 61
    assert await tokens.verify_token(issuer.token("b", key=issuer.keys["b"], algorithm="RS256"))
    moment[0] += 3601
    assert await tokens.verify_token(good)
    assert issuer.asked.count("/keys") == 3


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/keys", None),
        ("/keys", b"<html>"),
        ("/keys", {"other": []}),
        ("/keys", {"keys": 1}),
        ("/keys", b" " * 300_000),
        ("/.well-known/oauth-authorization-server/tenant", None),
        ("/.well-known/oauth-authorization-server/tenant", {"issuer": "https://evil.example", "jwks_uri": JWKS}),
        (
            "/.well-known/oauth-authorization-server/tenant",
            {"issuer": ISSUER, "jwks_uri": "http://login.example.com/k"},
        ),
        ("/.well-known/oauth-authorization-server/tenant", {"issuer": ISSUER}),
    ],
)
async def test_an_issuer_that_can_not_be_understood_accepts_no_token(tokens, issuer, caplog, path, document):
    issuer.documents[path] = document
    assert await tokens.verify_token(issuer.token()) is None
    assert "TTP_OAUTH_ISSUER" in caplog.text


async def test_the_keys_of_before_stay_while_the_issuer_is_down(tokens, issuer, moment):
    assert await tokens.verify_token(issuer.token())
    issuer.documents.clear()
    moment[0] += 4000
    assert await tokens.verify_token(issuer.token())


async def test_metadata_of_openid_connect_is_found_too(tokens, issuer):
    issuer.documents["/tenant/.well-known/openid-configuration"] = issuer.documents.pop(
        "/.well-known/oauth-authorization-server/tenant"
    )
    assert await tokens.verify_token(issuer.token())
    assert metadata_urls("https://a.example")[1] == "https://a.example/.well-known/openid-configuration"


async def test_the_server_key_is_accepted_beside_access_tokens_when_it_is_set(issuer):
    keys = IssuerKeys(ISSUER, app=issuer.app)
    both = AccessTokens(ISSUER, RESOURCE, keys, ServerKey(KEY))
    assert (await both.verify_token(KEY)).client_id == "TTP_SERVER_KEY"
    assert await both.verify_token(KEY + "x") is None


async def test_over_http_a_client_learns_where_to_get_a_token_and_is_served_with_it(serve, issuer):
    async with serve(**OAUTH, more={"issuer_app": issuer.app}) as web:
        refused = await web.rpc("tools/list")
        metadata = await web.http.get("/.well-known/oauth-protected-resource/mcp")
        served = await web.rpc("tools/list", authorization=f"Bearer {issuer.token()}")
        wrong = await web.rpc("tools/list", authorization=f"Bearer {issuer.token(aud='https://other.example')}")
        passed_on = await web.rpc("tools/list", authorization=f"Bearer {token_of(1)}")
        figures = await web.http.get("/metrics")
    assert refused.status_code == wrong.status_code == passed_on.status_code == 401
    assert "/.well-known/oauth-protected-resource/mcp" in refused.headers["www-authenticate"]
    assert metadata.json()["resource"] == RESOURCE
    assert metadata.json()["authorization_servers"] == [ISSUER]
    assert served.status_code == 200
    assert figures.status_code == 404


async def test_an_access_token_whose_signature_holds_the_beginning_of_an_api_token_is_served(serve, issuer):
    issuer.keys["e"] = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    issuer.documents["/keys"] = issuer.jwks()
    # These signatures are the same each time: the first number is one that fits, found by trying.
    tokens = (
        issuer.token("e", key=issuer.keys["e"], algorithm="EdDSA", exp=4102444800, jti=str(number))
        for number in itertools.count(BY_CHANCE)
    )
    token = next(each for each in tokens if "ttp_" in each.rpartition(".")[2].lower())
    async with serve(**OAUTH, more={"issuer_app": issuer.app}) as web:
        response = await web.rpc("tools/list", authorization=f"Bearer {token}")
    assert response.status_code == 200


async def test_several_users_need_an_access_token_and_their_own(serve, issuer):
    options = {"multi_tenant": True}
    async with serve(**OAUTH, options=options, server_key=KEY, more={"issuer_app": issuer.app}) as web:
        access = f"Bearer {issuer.token()}"
        statuses = [
            (await web.rpc("tools/list", **headers)).status_code
            for headers in (
                {"authorization": access},
                {"x_timetopost_token": token_of(1)},
                {"authorization": access, "x_timetopost_token": token_of(1)},
                {"authorization": f"Bearer {KEY}", "x_timetopost_token": token_of(1)},
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
async def test_network_setting_that_can_not_be_used_is_a_warning_with_the_next_step(
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
