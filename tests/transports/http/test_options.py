"""Which configurations are served, and how the others are refused."""

from dataclasses import replace

import pytest

from tests.transports.http.conftest import KEY
from tests.transports.http.upstream import make_token
from ttp_mcp.config import SettingProblem
from ttp_mcp.credentials import Token
from ttp_mcp.transports.http.options import Options, check_options, guard_rules, has_metrics

pytestmark = pytest.mark.requirement("http.configuration")

ISSUER = {"oauth_issuer": "https://login.example.com", "oauth_resource": "https://mcp.example.com/mcp"}
OUTSIDE = {"host": "0.0.0.0"}
HOSTS = {"allowed_hosts": ("mcp.example.com",)}


def read_refusal(settings, options=None, **changes):
    """The words of the refusal."""
    with pytest.raises(SettingProblem) as problem:
        check_options(replace(settings, **changes), Options("http", **(options or {})))
    return str(problem.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "mcp.example.com", "192.168.1.2"])
def test_other_machines_are_not_served_without_client_authentication(settings, host):
    assert "TTP_SERVER_KEY" in read_refusal(settings, {"host": host}, **HOSTS)
    assert read_refusal(settings, {"host": host}).startswith(f"--host {host} lets others connect")


def test_other_machines_are_not_served_without_allowed_hosts(settings):
    assert "TTP_ALLOWED_HOSTS" in read_refusal(settings, OUTSIDE, server_key=KEY)
    assert "TTP_ALLOWED_HOSTS" in read_refusal(settings, OUTSIDE, **ISSUER)


def test_users_tokens_need_tls_between_machines(settings):
    options = {**OUTSIDE, "multi_tenant": True}
    assert "--behind-tls-proxy" in read_refusal(settings, options, server_key=KEY, **HOSTS)


@pytest.mark.parametrize("changes", [{"token": Token(make_token(1))}, {"token_problem": "it must begin with ttp_."}])
def test_configured_token_excludes_multi_tenant(settings, changes):
    assert "TTP_API_TOKEN" in read_refusal(settings, {"multi_tenant": True}, **changes)
    check_options(replace(settings, **changes), Options("http"))


@pytest.mark.parametrize("name", ["oauth_issuer", "oauth_resource"])
def test_issuer_and_resource_belong_together(settings, name):
    assert "belong together" in read_refusal(settings, **{name: ISSUER[name]})


@pytest.mark.parametrize(
    "url",
    [
        *("http://login.example.com", "https://", "login", "https://a.example?x=1", "https://u@a.example"),
        *("https://a.example#x", "https://a.example/a b"),
    ],
)
@pytest.mark.parametrize("name", ["oauth_issuer", "oauth_resource"])
def test_issuer_and_resource_are_https(settings, name, url):
    assert name.upper() in read_refusal(settings, **{**ISSUER, name: url})


@pytest.mark.parametrize("text", ["*", "https://mcp.example.com", "mcp.example.com/mcp", "mcp.example.com:*", "a b"])
def test_allowed_hosts_are_names_without_wildcards(settings, text):
    assert "TTP_ALLOWED_HOSTS" in read_refusal(settings, allowed_hosts=("ok.example", text))
    words = read_refusal(settings, {**OUTSIDE, "no_client_auth": True}, allowed_hosts=("ok.example", text))
    assert "TTP_ALLOWED_HOSTS" in words


@pytest.mark.parametrize("text", ["*", "app.example.com", "https://app.example.com/x", "null", "https://*.example.com"])
def test_allowed_origins_are_origins_without_wildcards(settings, text):
    assert "TTP_ALLOWED_ORIGINS" in read_refusal(settings, allowed_origins=("https://ok.example", text))


EXPOSED = [
    ({"host": "0.0.0.0"}, HOSTS, "--host 0.0.0.0"),
    ({"host": "10.0.0.5"}, HOSTS, "--host 10.0.0.5"),
    ({"behind_tls_proxy": True}, {}, "--behind-tls-proxy"),
    ({}, HOSTS, "TTP_ALLOWED_HOSTS"),
    ({}, {"allowed_hosts": ("localhost", "10.0.0.5:8000")}, "TTP_ALLOWED_HOSTS"),
    ({"multi_tenant": True}, {}, "--multi-tenant"),
    ({"multi_tenant": True, "behind_tls_proxy": True}, HOSTS, "--behind-tls-proxy"),
]


@pytest.mark.parametrize("transport", ["http", "sse"])
@pytest.mark.parametrize(("options", "changes", "named"), EXPOSED)
def test_exposed_server_needs_client_auth_or_an_explicit_opt_out(settings, transport, options, changes, named):
    exposed = replace(settings, **changes)
    with pytest.raises(SettingProblem) as problem:
        check_options(exposed, Options(transport, **options))
    assert str(problem.value).startswith(f"{named} lets others connect, and nothing says who may.")
    assert "--no-client-auth" in str(problem.value)
    check_options(replace(exposed, server_key=KEY), Options(transport, **options))
    check_options(replace(exposed, **ISSUER), Options(transport, **options))
    check_options(exposed, Options(transport, **options, no_client_auth=True))
    assert has_metrics(exposed, Options(transport, **options, no_client_auth=True)) == (named == "--multi-tenant")


@pytest.mark.parametrize("changes", [{"server_key": KEY}, ISSUER])
def test_client_auth_is_not_switched_off_beside_a_key_or_an_issuer(settings, changes):
    assert "--no-client-auth contradicts" in read_refusal(settings, {"no_client_auth": True}, **changes)


@pytest.mark.parametrize("hosts", [("localhost:9000",), ("127.0.0.1",), ("[::1]:9000",)])
def test_other_loopback_name_needs_no_client_auth(settings, hosts):
    check_options(replace(settings, allowed_hosts=hosts), Options("http"))


def test_empty_host_is_refused(settings):
    assert read_refusal(settings, {"host": ""}).startswith("--host is empty.")


def test_final_slash_of_a_path_is_dropped(settings):
    options = Options("http", path="/social/mcp/")
    check_options(settings, options)
    assert options.endpoint == "/social/mcp"


@pytest.mark.parametrize(
    ("path", "messages"), [("", "/messages/"), ("/sse", "/messages/"), ("/social/sse", "/social/messages/")]
)
def test_messages_of_sse_are_beside_its_path(path, messages):
    assert Options("sse", path=path).messages == messages


def test_path_of_sse_is_not_that_of_its_messages(settings):
    with pytest.raises(SettingProblem, match="--path"):
        check_options(settings, Options("sse", path="/social/messages"))


@pytest.mark.parametrize(
    "path",
    [
        "mcp",
        "/",
        "/mcp//",
        "//mcp",
        "/a?b",
        "/a/../b",
        "/{x}",
        "/healthz",
        "/readyz",
        "/metrics",
        "/messages",
        "/a" * 9,
    ],
)
def test_path_is_plain_and_not_reserved(settings, path):
    assert "--path" in read_refusal(settings, {"path": path})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2", "0:0:0:0:0:0:0:1"])
def test_loopback_server_needs_no_settings(settings, host):
    options = Options("http", host=host)
    check_options(settings, options)
    written = f"[{host}]" if ":" in host else host
    hosts = {(name, 8000) for name in ("localhost", "127.0.0.1", "[::1]", written)}
    rules = guard_rules(settings, options, 8000)
    assert (rules.hosts, rules.origins) == (hosts, {("http", *host) for host in hosts})


def test_listed_hosts_are_served_beside_those_of_this_machine(settings):
    rules = guard_rules(replace(settings, allowed_hosts=("localhost:9000",)), Options("http"), 8000)
    assert {("localhost", 8000), ("localhost", 9000)} < rules.hosts


def test_server_for_other_machines_has_no_name_of_this_machine(settings):
    rules = guard_rules(replace(settings, server_key=KEY, **HOSTS), Options("http", **OUTSIDE), 8000)
    assert (rules.hosts, rules.origins) == ({("mcp.example.com", 80)}, set())


@pytest.mark.parametrize(("behind_tls_proxy", "port"), [(False, 80), (True, 443)])
def test_usual_port_of_a_host_is_that_of_its_scheme(settings, behind_tls_proxy, port):
    options = Options("http", **OUTSIDE, behind_tls_proxy=behind_tls_proxy)
    rules = guard_rules(replace(settings, server_key=KEY, **HOSTS), options, 8000)
    assert (rules.default_port, rules.hosts) == (port, {("mcp.example.com", port)})


def test_answers_are_shared_with_allowed_origins_alone(settings):
    rules = guard_rules(replace(settings, allowed_origins=("https://app.example.com",)), Options("http"), 8000)
    assert rules.shared_with == {("https", "app.example.com", 443)}
    assert rules.origins > rules.shared_with


@pytest.mark.parametrize(("transport", "paths"), [("http", {"/mcp"}), ("sse", {"/sse", "/messages/"})])
def test_paths_of_mcp_are_those_of_its_transport(transport, paths):
    assert Options(transport).mcp_paths == paths


def test_path_has_at_most_eight_parts(settings):
    check_options(settings, Options("http", path="/a" * 8))


@pytest.mark.parametrize("path", ["/Az09._~-", "/az", "/Z.a", "/9.z", "/_.0", "/~._", "/-.~/a-A"])
def test_path_has_letters_digits_and_the_marks_that_need_no_escape(settings, path):
    check_options(settings, Options("http", path=path))


def test_other_machines_are_served_with_a_key_or_an_issuer(settings):
    check_options(replace(settings, server_key=KEY, **HOSTS), Options("http", **OUTSIDE))
    check_options(replace(settings, **ISSUER, **HOSTS), Options("sse", **OUTSIDE))
    options = Options("http", **OUTSIDE, multi_tenant=True, behind_tls_proxy=True)
    check_options(replace(settings, server_key=KEY, **HOSTS), options)


def test_methods_depend_on_the_transport(settings):
    http = guard_rules(settings, Options("http"), 8000).methods
    sse = guard_rules(settings, Options("sse", path="/events"), 8000).methods
    oauth = guard_rules(replace(settings, **ISSUER), Options("http", path="/x"), 8000).methods
    assert set(http) == {"/mcp", "/metrics", "/healthz", "/readyz"}
    assert set(sse) == {"/events", "/messages/", "/metrics", "/healthz", "/readyz"}
    assert set(oauth) == {"/x", "/.well-known/oauth-protected-resource/mcp", "/healthz", "/readyz"}
    assert (http["/mcp"], sse["/events"], sse["/messages/"]) == (("POST",), ("GET",), ("POST",))
    assert oauth["/.well-known/oauth-protected-resource/mcp"] == ("GET",)
    assert http["/healthz"] == http["/readyz"] == ("GET", "HEAD")
    assert http["/metrics"] == ("GET",)
    assert guard_rules(settings, Options("http", path="/x"), 8000).endpoint == "/x"


def test_metrics_need_the_key_or_this_machine(settings):
    keyed = replace(settings, server_key=KEY)
    assert has_metrics(keyed, Options("http", **OUTSIDE))
    assert has_metrics(settings, Options("http"))
    assert not has_metrics(replace(settings, **ISSUER), Options("http"))
    assert guard_rules(keyed, Options("http"), 8000).any_host == {"/metrics", "/healthz", "/readyz"}
    assert guard_rules(settings, Options("http"), 8000).any_host == {"/healthz", "/readyz"}


HOST_FORM = (
    "TTP_ALLOWED_HOSTS must list host names or addresses, each with its port where that is not the usual one, "
    "for example mcp.example.com,10.0.0.5:8000. No scheme, path or wildcard."
)
ORIGIN_FORM = (
    "TTP_ALLOWED_ORIGINS must list web origins, for example https://app.example.com,http://localhost:6274. "
    "No path or wildcard."
)


@pytest.mark.parametrize(
    ("options", "changes", "words"),
    [
        ({"host": ""}, {}, "--host is empty. Write an address, or leave it out for 127.0.0.1."),
        (
            {"path": "mcp"},
            {},
            (
                "--path must be a plain path such as /mcp, and not one of /healthz, /readyz, /metrics, /messages. "
                "Change it, or leave it out for /mcp."
            ),
        ),
        (
            {},
            {"oauth_issuer": ISSUER["oauth_issuer"]},
            "TTP_OAUTH_ISSUER and TTP_OAUTH_RESOURCE belong together. Set both, or neither.",
        ),
        (
            {},
            {**ISSUER, "oauth_issuer": "http://a.example"},
            "TTP_OAUTH_ISSUER must be an https URL without user, query or fragment (http only for this machine).",
        ),
        (
            {},
            {**ISSUER, "oauth_resource": "http://a.example"},
            "TTP_OAUTH_RESOURCE must be an https URL without user, query or fragment (http only for this machine).",
        ),
        ({}, {"allowed_hosts": ("*",)}, HOST_FORM),
        ({}, {"allowed_origins": ("*",)}, ORIGIN_FORM),
        (
            {"multi_tenant": True},
            {"token": Token(make_token(1))},
            (
                "--multi-tenant serves each user with the token that they send, never with a configured one. "
                "Remove TTP_API_TOKEN and TTP_API_TOKEN_FILE, or leave out --multi-tenant."
            ),
        ),
        (
            {"no_client_auth": True},
            {"server_key": KEY},
            "--no-client-auth contradicts TTP_SERVER_KEY and TTP_OAUTH_ISSUER, which are always checked. Leave one of them out.",
        ),
        (
            OUTSIDE,
            HOSTS,
            (
                "--host 0.0.0.0 lets others connect, and nothing says who may. Set TTP_SERVER_KEY (at least 32 random characters), or "
                "TTP_OAUTH_ISSUER and TTP_OAUTH_RESOURCE. To serve anyone who can reach the port, pass --no-client-auth."
            ),
        ),
        (
            OUTSIDE,
            {"server_key": KEY},
            (
                "--host 0.0.0.0 needs TTP_ALLOWED_HOSTS: the names under which clients reach this server, with the port "
                "where it is not the usual one, for example mcp.example.com or 10.0.0.5:8000."
            ),
        ),
        (
            {**OUTSIDE, "multi_tenant": True},
            {"server_key": KEY, **HOSTS},
            (
                "--multi-tenant with other machines needs TLS, since users' tokens travel to this server. Put a proxy with TLS in "
                "front of it and pass --behind-tls-proxy; no other way may lead to this port."
            ),
        ),
    ],
)
def test_refusal_says_what_to_change(settings, options, changes, words):
    assert read_refusal(settings, options, **changes) == words
