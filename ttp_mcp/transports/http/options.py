"""Options of the HTTP transport: which combinations are refused, and the guard's rules for the others."""

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from mcp.server.auth.routes import build_resource_metadata_url
from pydantic import AnyHttpUrl

from ttp_mcp.config import SettingProblem, Settings, is_loopback_host
from ttp_mcp.transports.http import health, metrics
from ttp_mcp.transports.http.guard import Authority, GuardRules, Origin, parse_authority, parse_origin
from ttp_mcp.transports.http.jwks import is_protected

DEFAULT_PATHS = {"http": "/mcp", "sse": "/sse"}
_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*){1,8}")
_RESERVED = (health.ALIVE, health.READY, metrics.PATH, "/messages")


@dataclass(frozen=True, slots=True)
class Options:
    """Flags of the command line for serving over HTTP. `path` is the path of MCP; a port of 0 takes a free one."""

    transport: Literal["sse", "http"]
    host: str = "127.0.0.1"
    port: int = 8000
    path: str = ""
    multi_tenant: bool = False
    behind_tls_proxy: bool = False
    no_client_auth: bool = False

    @property
    def endpoint(self) -> str:
        """Path of MCP, without a final slash."""
        return (self.path.removesuffix("/") or self.path) or DEFAULT_PATHS[self.transport]

    @property
    def messages(self) -> str:
        """Path that SSE clients post to, beside the path of MCP, so that one prefix of a proxy covers both."""
        return f"{self.endpoint.rpartition('/')[0]}/messages/"

    @property
    def mcp_paths(self) -> set[str]:
        """Paths of the MCP transport."""
        return {self.endpoint} if self.transport == "http" else {self.endpoint, self.messages}

    @property
    def on_this_machine(self) -> bool:
        """True if only programs of this machine can connect."""
        if is_loopback_host(self.host):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def default_port(self) -> int:
        """Port of a `Host` header that names none."""
        return 443 if self.behind_tls_proxy else 80


def check_options(settings: Settings, options: Options) -> None:
    """Refuse a combination that would be unsafe or can't work.

    Raises:
        SettingProblem: With what to change.
    """
    if not options.host:
        raise SettingProblem("--host is empty. Write an address, or leave it out for 127.0.0.1.")
    if (
        not _PATH.fullmatch(options.endpoint)
        or options.endpoint in _RESERVED
        or options.messages == f"{options.endpoint}/"
    ):
        raise SettingProblem(
            "--path must be a plain path such as /mcp, and not one of "
            f"{', '.join(_RESERVED)}. Change it, or leave it out for {DEFAULT_PATHS[options.transport]}."
        )
    _check_oauth(settings)
    _parse_hosts(settings, options.default_port)
    _parse_origins(settings)
    if options.multi_tenant and (settings.token is not None or settings.token_problem is not None):
        raise SettingProblem(
            "--multi-tenant serves each user with the token that they send, never with a configured one. "
            "Remove TTP_API_TOKEN and TTP_API_TOKEN_FILE, or leave out --multi-tenant."
        )
    _check_reach(settings, options)


def guard_rules(settings: Settings, options: Options, port: int) -> GuardRules:
    """Rules of the guard for a server on this port.

    Raises:
        SettingProblem: `TTP_ALLOWED_HOSTS` or `TTP_ALLOWED_ORIGINS` can't be read.
    """
    shared_with = _parse_origins(settings)
    hosts, origins = _parse_hosts(settings, options.default_port), set(shared_with)
    if options.on_this_machine:
        own = {name: (name, port) for name in ("localhost", "127.0.0.1", "[::1]", _to_url_host(options.host))}
        hosts |= set(own.values())
        origins |= {("http", *place) for place in own.values()}
    methods: dict[str, Collection[str]] = {health.ALIVE: health.METHODS, health.READY: health.METHODS}
    if options.transport == "http":
        # Stateless: no stream to open with GET, no session to end with DELETE.
        methods[options.endpoint] = ("POST",)
    else:
        methods |= {options.endpoint: ("GET",), options.messages: ("POST",)}
    if settings.oauth_resource:
        methods[metadata_path(settings.oauth_resource)] = ("GET",)
    any_host = {health.ALIVE, health.READY}
    if has_metrics(settings, options):
        methods[metrics.PATH] = metrics.METHODS
        # A web page with a rebound name has no key; a Prometheus with the key may use the pod's IP.
        any_host |= {metrics.PATH} if settings.server_key else set()
    return GuardRules(
        hosts=frozenset(hosts),
        origins=frozenset(origins),
        shared_with=frozenset(shared_with),
        methods=methods,
        endpoint=options.endpoint,
        any_host=frozenset(any_host),
        default_port=options.default_port,
    )


def has_metrics(settings: Settings, options: Options) -> bool:
    """Check whether `/metrics` is served: with a key, or to programs of this machine alone."""
    return settings.server_key is not None or (
        _find_exposure(settings, options) is None and settings.oauth_issuer is None
    )


def metadata_path(resource: str) -> str:
    """Path of the metadata that OAuth clients look for (RFC 9728)."""
    return urlsplit(str(build_resource_metadata_url(AnyHttpUrl(resource)))).path


def _find_exposure(settings: Settings, options: Options) -> str | None:
    """Return the setting by which other machines reach this server; None if only this one does."""
    if not options.on_this_machine:
        return f"--host {options.host}"
    if options.behind_tls_proxy:
        return "--behind-tls-proxy"
    hosts = _parse_hosts(settings, options.default_port)
    return None if all(is_loopback_host(host) for host, _ in hosts) else "TTP_ALLOWED_HOSTS"


def _check_reach(settings: Settings, options: Options) -> None:
    has_auth = settings.server_key is not None or settings.oauth_issuer is not None
    if has_auth and options.no_client_auth:
        raise SettingProblem(
            "--no-client-auth contradicts TTP_SERVER_KEY and TTP_OAUTH_ISSUER, which are always checked. Leave one of them out."
        )
    exposed_by = _find_exposure(settings, options) or ("--multi-tenant" if options.multi_tenant else None)
    if exposed_by is not None and not has_auth and not options.no_client_auth:
        raise SettingProblem(
            f"{exposed_by} lets others connect, and nothing says who may. Set TTP_SERVER_KEY (at least 32 random characters), or "
            "TTP_OAUTH_ISSUER and TTP_OAUTH_RESOURCE. To serve anyone who can reach the port, pass --no-client-auth."
        )
    if options.on_this_machine:
        return
    if not settings.allowed_hosts:
        raise SettingProblem(
            f"--host {options.host} needs TTP_ALLOWED_HOSTS: the names under which clients reach this server, with the port "
            "where it is not the usual one, for example mcp.example.com or 10.0.0.5:8000."
        )
    if options.multi_tenant and not options.behind_tls_proxy:
        raise SettingProblem(
            "--multi-tenant with other machines needs TLS, since users' tokens travel to this server. Put a proxy with TLS in "
            "front of it and pass --behind-tls-proxy; no other way may lead to this port."
        )


def _check_oauth(settings: Settings) -> None:
    issuer, resource = settings.oauth_issuer, settings.oauth_resource
    if (issuer is None) != (resource is None):
        raise SettingProblem("TTP_OAUTH_ISSUER and TTP_OAUTH_RESOURCE belong together. Set both, or neither.")
    for name, url in (("TTP_OAUTH_ISSUER", issuer), ("TTP_OAUTH_RESOURCE", resource)):
        if url is not None and (not is_protected(url) or re.search(r"[\s?#@]", url)):
            raise SettingProblem(
                f"{name} must be an https URL without user, query or fragment (http only for this machine)."
            )


def _parse_hosts(settings: Settings, default_port: int) -> set[Authority]:
    found: set[Authority] = set()
    for text in settings.allowed_hosts:
        place = parse_authority(text, default_port)
        if place is None:
            raise SettingProblem(
                "TTP_ALLOWED_HOSTS must list host names or addresses, each with its port where that is not the usual one, "
                "for example mcp.example.com,10.0.0.5:8000. No scheme, path or wildcard."
            )
        found.add(place)
    return found


def _parse_origins(settings: Settings) -> set[Origin]:
    found: set[Origin] = set()
    for text in settings.allowed_origins:
        place = parse_origin(text)
        if place is None:
            raise SettingProblem(
                "TTP_ALLOWED_ORIGINS must list web origins, for example https://app.example.com,http://localhost:6274. "
                "No path or wildcard."
            )
        found.add(place)
    return found


def _to_url_host(host: str) -> str:
    """Host as URLs spell it."""
    return f"[{host}]" if ":" in host else host
