"""Which configurations are served over HTTP, and the rules that follow from one."""

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from mcp.server.auth.routes import build_resource_metadata_url
from pydantic import AnyHttpUrl

from ttp_mcp.config import SettingProblem, Settings
from ttp_mcp.transports.http import health, metrics
from ttp_mcp.transports.http.guard import Authority, GuardRules, Origin, parse_authority, parse_origin
from ttp_mcp.transports.http.jwks import is_protected

MESSAGES = "/messages/"
DEFAULT_PATHS = {"http": "/mcp", "sse": "/sse"}
_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*){1,8}")
_RESERVED = (health.ALIVE, health.READY, metrics.PATH, "/messages")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says about serving over HTTP. `path` is where MCP is; a port of 0 takes a free one."""

    transport: Literal["sse", "http"]
    host: str = "127.0.0.1"
    port: int = 8000
    path: str = ""
    multi_tenant: bool = False
    behind_tls_proxy: bool = False

    @property
    def endpoint(self) -> str:
        """The path of MCP."""
        return self.path or DEFAULT_PATHS[self.transport]

    @property
    def on_this_machine(self) -> bool:
        """Whether only programs of this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def default_port(self) -> int:
        """What clients mean that name no port."""
        return 443 if self.behind_tls_proxy else 80


def check_options(settings: Settings, options: Options) -> None:
    """Refuse what would be unsafe or could not work.

    Raises:
        SettingProblem: With what to change.
    """
    if not _PATH.fullmatch(options.endpoint) or options.endpoint in _RESERVED:
        raise SettingProblem(
            "--path must be a plain path such as /mcp, and not one of "
            f"{', '.join(_RESERVED)}. Change it, or leave it out for {DEFAULT_PATHS[options.transport]}."
        )
    _check_oauth(settings)
    _hosts(settings, options.default_port)
    _origins(settings)
    _check_reach(settings, options)
    if options.multi_tenant and (settings.token is not None or settings.token_problem is not None):
        raise SettingProblem(
            "--multi-tenant serves each user with the token that they send, and a configured one must never stand in for it. "
            "Remove TTP_API_TOKEN and TTP_API_TOKEN_FILE, or leave out --multi-tenant."
        )


def guard_rules(settings: Settings, options: Options, port: int, *, with_metrics: bool) -> GuardRules:
    """The rules of the guard for a server on this port.

    Raises:
        SettingProblem: `TTP_ALLOWED_HOSTS` or `TTP_ALLOWED_ORIGINS` can't be read.
    """
    shared_with = _origins(settings)
    hosts, origins = _hosts(settings, options.default_port), set(shared_with)
    if options.on_this_machine:
        own = {name: (name, port) for name in ("localhost", "127.0.0.1", "[::1]", _written(options.host))}
        hosts |= set(own.values())
        origins |= {("http", *place) for place in own.values()}
    methods: dict[str, Collection[str]] = {health.ALIVE: health.METHODS, health.READY: health.METHODS}
    if options.transport == "http":
        # Stateless: no stream to open with GET, no session to end with DELETE.
        methods[options.endpoint] = ("POST",)
    else:
        methods |= {options.endpoint: ("GET",), MESSAGES: ("POST",)}
    if settings.oauth_resource:
        methods[metadata_path(settings.oauth_resource)] = ("GET",)
    any_host = {health.ALIVE, health.READY}
    if with_metrics:
        methods[metrics.PATH] = metrics.METHODS
        # A page that reaches us by a name of its own has no key; a Prometheus that has it may use the pod's IP.
        any_host |= {metrics.PATH} if settings.server_key else set()
    return GuardRules(
        hosts=frozenset(hosts),
        origins=frozenset(origins),
        shared_with=frozenset(shared_with),
        methods=methods,
        any_host=frozenset(any_host),
        default_port=options.default_port,
    )


def has_metrics(settings: Settings, options: Options) -> bool:
    """Whether figures are served: to whoever has the key, or on this machine."""
    return settings.server_key is not None or (options.on_this_machine and settings.oauth_issuer is None)


def metadata_path(resource: str) -> str:
    """Where OAuth clients look for what this server needs (RFC 9728)."""
    return build_resource_metadata_url(AnyHttpUrl(resource)).path or "/"


def _check_reach(settings: Settings, options: Options) -> None:
    if options.on_this_machine:
        return
    if settings.server_key is None and settings.oauth_issuer is None:
        raise SettingProblem(
            f"--host {options.host} lets other machines connect, and nothing says which may. Set TTP_SERVER_KEY (at least "
            "32 random characters), or TTP_OAUTH_ISSUER and TTP_OAUTH_RESOURCE; or leave out --host for this machine alone."
        )
    if not settings.allowed_hosts:
        raise SettingProblem(
            f"--host {options.host} needs TTP_ALLOWED_HOSTS: the names under which clients reach this server, with the port "
            "where it is not the usual one, for example mcp.example.com or 10.0.0.5:8000."
        )
    if options.multi_tenant and not options.behind_tls_proxy:
        raise SettingProblem(
            "--multi-tenant with other machines needs TLS, since users' tokens travel to this server. Put a proxy with TLS in "
            "front of it and say --behind-tls-proxy; no other way may lead to this port."
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


def _hosts(settings: Settings, default_port: int) -> set[Authority]:
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


def _origins(settings: Settings) -> set[Origin]:
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


def _written(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host.lower()
