"""Upload URLs and addresses that the server may connect to."""

import ipaddress

import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ttp_mcp.api.ssrf import (
    UploadTarget,
    UploadUrlRefused,
    is_on_this_machine,
    is_public,
    parse_upload_url,
    resolve_public,
    system_resolver,
)

pytestmark = pytest.mark.requirement("uploads.addresses")

PUBLIC = "93.184.216.34"
UNASSIGNABLE = [
    "192.0.0.8",
    "192.0.0.10",
    "192.88.99.1",
    "::ffff:192.0.0.8",
    "64:ff9b::c058:6301",
    "2001:1::1",
    "2001:20::1",
    "3fff::1",
    "3fff:fff::1",
    "2001:4860::5efe:a00:1",
    "2001:4860::200:5efe:a00:1",
    "2002:808:808::5efe:a00:1",
]
ACCEPTED = "https://media.example.com/a"
# Each differs from an accepted URL in one part, and is refused by the rule about that part.
REFUSED_BY_RULE = {
    "is not a plain https URL": [
        "",
        "https:///path",
        "https://media.example.com",
        "//media.example.com/a",
        "ftp://media.example.com/a",
        "HTTPS://media.example.com/a",
        "file:///etc/passwd",
        "https://media.example.com:0443/a",
        "https://media.example.com:/a",
        "https://user@media.example.com/a",
        "https://user:password@media.example.com/a",
        "https://timetopost.co@evil.example/a",
        "https://media.example.com\\@evil.example/a",
        "https://media.example.com/a\\b",
        "https://media.example.com/a#fragment",
        "https://media.example.com#@evil.example/a",
        "https://media.example.com/a b",
        "https://media.example.com/a\r\nHost: evil.example",
        "https://media.example.com/a\tb",
        "https://media.example.com/\x00",
        "https://mêdia.example.com/a",
        "https://１２７.0.0.1/a",
        "https://media%2eexample.com/a",
        "https://[::ffff:169.254.169.254]/a",
        "https://[fe80::1%25eth0]/a",
        "https://media.example.com/" + "a" * 8192,
    ],
    "is not https": [
        "http://media.example.com/a",
    ],
    "has a port of its own": [
        "https://media.example.com:8443/a",
        "https://media.example.com:80/a",
        "https://media.example.com:99999/a",
    ],
    "names no host": [
        "https://media..example.com/a",
        "https://media.example.com./a",
        "https://-media.example.com/a",
        "https://intranet/a",
        "https://2130706433/a",
        "https://0x7f.1/a",
        "https://0x7f000001/a",
        "https://127.0x1/a",
        "https://127.0X/a",
        "https://media.example.1/a",
        "https://media-.example.com/a",
        "https://media.example-/a",
        "https://0177.0.0.1/a",
        "https://127.1/a",
        "https://0/a",
        "https://93.184.216.34/a",
        "https://169.254.169.254/latest/meta-data",
        "https://[64:ff9b::7f00:1]/a",
    ],
    "is on this machine": [
        "https://[::1]/a",
        "https://localhost/a",
        "https://LOCALHOST/a",
        "https://media.sandbox.localhost/a",
        "http://127.0.0.1:8766/a",
    ],
}
PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:db8::1",
    "2001::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "100::1",
    "4000::1",
    "not an address",
    "",
]


@pytest.mark.parametrize(("rule", "url"), [(rule, url) for rule, urls in REFUSED_BY_RULE.items() for url in urls])
def test_upload_url_that_breaks_a_rule_is_refused_by_that_rule(rule, url):
    """The URL is refused before its host is resolved."""
    assert parse_upload_url(ACCEPTED).host == "media.example.com"
    with pytest.raises(UploadUrlRefused, match=f"^{rule}$"):
        parse_upload_url(url)


def test_longest_host_is_accepted():
    """A label has 63 characters at most, a name 253."""
    longest = f"{'a.' * 95}{'b' * 63}"
    assert parse_upload_url(f"https://{longest}/a").host == longest
    for host in (f"a{longest}", f"{'b' * 64}.example"):
        with pytest.raises(UploadUrlRefused):
            parse_upload_url(f"https://{host}/a")


def test_longest_upload_url_is_accepted():
    longest = ACCEPTED.ljust(8192, "a")
    assert parse_upload_url(longest).target == "/".ljust(8192 - len(ACCEPTED) + 2, "a")
    with pytest.raises(UploadUrlRefused, match="is not a plain https URL"):
        parse_upload_url(longest + "a")


def test_target_of_an_upload_url_is_any_visible_ascii_but_a_fragment_or_backslash():
    visible = [chr(number) for number in range(0x21, 0x7F)]
    kept = "".join(character for character in visible if character not in "#\\")
    assert parse_upload_url(f"{ACCEPTED}{kept}").target == f"/a{kept}"
    for character in ("#", "\\", " ", "\x7f", "é"):
        with pytest.raises(UploadUrlRefused, match="is not a plain https URL"):
            parse_upload_url(f"{ACCEPTED}{character}")


def test_plain_https_url_is_split_into_its_parts():
    """Storage services return such URLs."""
    place = parse_upload_url("https://Bucket_1.s3.eu-west-1.amazonaws.com:443/key%20a?X-Amz-Signature=ab&x=[1]")
    assert place == UploadTarget(
        "https", "bucket_1.s3.eu-west-1.amazonaws.com", 443, "/key%20a?X-Amz-Signature=ab&x=[1]", loopback=False
    )
    assert place.authority == "bucket_1.s3.eu-west-1.amazonaws.com"
    assert place.url(PUBLIC) == f"https://{PUBLIC}:443/key%20a?X-Amz-Signature=ab&x=[1]"
    assert place.url("2606:2800::1").startswith("https://[2606:2800::1]:443/")
    assert "Signature" not in repr(place)


@pytest.mark.parametrize(
    ("url", "authority", "addresses"),
    [
        ("http://127.0.0.1:8766/a", "127.0.0.1:8766", ("127.0.0.1",)),
        ("http://[::1]:8766/a", "[::1]:8766", ("::1",)),
        ("http://media.sandbox.localhost/a", "media.sandbox.localhost", ("127.0.0.1", "::1")),
        ("https://localhost:9/a", "localhost:9", ("127.0.0.1", "::1")),
    ],
)
def test_this_machine_is_allowed_only_for_a_local_api(url, authority, addresses):
    """Names of this machine aren't resolved."""

    def unused(host, port):
        raise AssertionError("a resolver was asked")

    place = parse_upload_url(url, loopback=True)
    assert place.authority == authority
    assert resolve_public(place, unused) == addresses
    assert place.url(place.host).startswith(url[:20])
    with pytest.raises(UploadUrlRefused, match="on this machine"):
        parse_upload_url(url)


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://media.example.com/a", "is not https"),
        ("https://192.168.0.1/a", "names no host"),
        ("https://evil.localhost.example:81/a", "has a port of its own"),
        ("http://127.0.0.2/a", "is not https"),
        ("http://[::2]/a", "is not https"),
        ("http://127.0.0.1:65536/a", "has no usable port"),
        ("http://.localhost/a", "names no host"),
    ],
)
def test_local_api_allows_public_storage_and_this_machine_only(url, rule):
    """A local proxy may return the real storage's URLs; other plain http stays refused."""
    assert parse_upload_url(ACCEPTED, loopback=True).loopback is False
    assert parse_upload_url("http://127.0.0.1:65535/a", loopback=True).loopback is True
    with pytest.raises(UploadUrlRefused, match=f"^{rule}$"):
        parse_upload_url(url, loopback=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_name_with_an_address_that_is_not_public_is_refused(address):
    """One such address among public ones is enough."""
    place = parse_upload_url(ACCEPTED)
    assert resolve_public(place, lambda host, port: [PUBLIC]) == (PUBLIC,)
    with pytest.raises(UploadUrlRefused, match=r"^leads into a private network$"):
        resolve_public(place, lambda host, port: [PUBLIC, address])


@pytest.mark.parametrize("address", UNASSIGNABLE)
def test_special_purpose_address_is_not_public(address):
    """Addresses for protocols, relays, documentation and tunnels, even if this Python's standard library calls them global."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *(PUBLIC, "8.8.8.8", "192.0.1.1", "192.88.98.1", "2606:2800:220:1::1", "2001:200::1", "2001:4860::5efe"),
        *("2002:808:808::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "64:ff9b::d83a:d28e"),
    ],
)
def test_public_addresses_are_public(address):
    """Addresses that wrap a public IPv4 address are public too."""
    assert is_public(address)


def test_addresses_of_a_name_keep_their_order_without_duplicates():
    """The next address is tried if the first doesn't answer."""
    asked = []

    def resolve(host, port):
        asked.append((host, port))
        return ["2606:2800::1", PUBLIC, PUBLIC]

    assert resolve_public(parse_upload_url("https://media.example.com/a"), resolve) == ("2606:2800::1", PUBLIC)
    assert asked == [("media.example.com", 443)]


def test_first_sixteen_addresses_of_a_name_are_tried():
    """A name with thousands of addresses must not block an upload."""
    many = [f"93.184.216.{number}" for number in range(17)]
    place = parse_upload_url(ACCEPTED)
    assert resolve_public(place, lambda host, port: many) == tuple(many[:16])


def test_name_with_a_number_before_its_last_label_is_a_name():
    assert parse_upload_url("https://127.1.example/a").host == "127.1.example"
    assert parse_upload_url("https://1.example/a").host == "1.example"


def test_base_url_on_this_machine_is_recognized():
    """The same hosts as where settings are read."""
    here = ("http://127.0.0.1:1/api", "http://[::1]/api", "http://localhost/api", "http://sandbox.localhost/api")
    assert all(map(is_on_this_machine, here))
    assert not any(map(is_on_this_machine, ("https://timetopost.co/api", "https://localhost.evil.example", "nothing")))


def test_system_resolver_resolves_this_machine():
    """Numeric addresses resolve without a network."""
    assert system_resolver("127.0.0.1", 80) == ["127.0.0.1"]
    with pytest.raises(OSError):
        system_resolver("127.0.0.1", 80_000_000_000)


@given(st.ip_addresses())
@example(ipaddress.ip_address("64:ff9b::7f00:1"))
def test_no_private_address_is_public(ip):
    """Cover every address that the standard library calls private, loopback, link-local or multicast."""
    if ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast:
        wrapped = ip.version == 6 and (ip.ipv4_mapped or ip.sixtofour or ip in ipaddress.ip_network("64:ff9b::/96"))
        assert wrapped or not is_public(str(ip))


@given(st.text(max_size=40), st.sampled_from(["https://", "http://", "https://media.example.com/", "https://a.b", ""]))
def test_any_text_is_refused_or_has_the_host_that_the_http_client_reads(text, start):
    """Reject every text that two parsers could read as different hosts."""
    try:
        place = parse_upload_url(start + text, loopback=True)
    except UploadUrlRefused:
        return
    assert httpx2.URL(start + text).host == place.host.strip("[]")
    assert httpx2.URL(place.url("127.0.0.1")).host == "127.0.0.1"
