"""Check media of a post: its URLs, and what is known of the files behind them."""

import ipaddress
import math
import socket
from collections.abc import Collection, Iterator
from urllib.parse import urlsplit

from ttp_mcp.media.facts import MediaFacts
from ttp_mcp.platforms.rules import Rule, Severity, find_platform

Finding = tuple[Severity, str]

TAKEN = "JPEG, PNG, GIF, WebP, MP4 and MOV"
_UNSUPPORTED = frozenset(
    """
    heic heif avif bmp tif tiff svg ico psd ai eps raw cr2 cr3 nef dng jxl jp2 pdf avi mkv wmv flv webm mpg mpeg
    3gp ogv mp3 wav m4a ogg aac flac zip rar 7z doc docx ppt pptx xls xlsx txt html htm php
    """.split()  # noqa: SIM905 - a table of words reads better
)
# Hosts whose addresses lead to a page about a file. Their hosts for files have other names.
_PAGES = frozenset(
    """
    drive.google.com docs.google.com photos.google.com photos.app.goo.gl dropbox.com youtube.com youtu.be
    instagram.com tiktok.com x.com twitter.com facebook.com fb.watch threads.net linkedin.com pinterest.com pin.it
    vimeo.com icloud.com onedrive.live.com 1drv.ms sharepoint.com wetransfer.com we.tl imgur.com flickr.com
    unsplash.com pexels.com pixabay.com canva.com giphy.com tenor.com box.com reddit.com github.com
    """.split()  # noqa: SIM905 - a table of words reads better
)
# Addresses of such hosts that lead to the file itself.
_DIRECT_PATHS = ("/uc", "/raw/")
_DIRECT_QUERIES = ("dl=1", "raw=1", "export=download")
_LOCAL_SUFFIXES = tuple(
    ".local .localhost .internal .intranet .lan .home .corp .home.arpa .invalid .test .onion".split()  # noqa: SIM905
)
# Smaller than this is a placeholder or a tracking pixel. Our own figure.
_LEAST_PIXELS = 50


def check_media_url(number: int, url: str, local_hosts: Collection[str] = ()) -> Iterator[Finding]:
    """Find what is wrong with the address of a file, entry `number` of media_urls, from 1.

    `local_hosts` are hosts of this machine that the API can fetch from.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    host, place = (parts.hostname or "").lower().rstrip("."), f"media_urls entry {number}"
    if host and host not in local_hosts and _is_unreachable(host):
        words = f"{place} is an address that no network can reach. Upload the file with upload_media and pass its public_url."
        yield "error", words
    elif _is_page(host, parts.path, parts.query):
        words = (
            f"{place} is a page of {host}, not the file. Upload the file with upload_media, or pass the file's own URL."
        )
        yield "warning", words
    elif (extension := parts.path.rpartition("/")[2].rpartition(".")[2].lower()) in _UNSUPPORTED and "." in parts.path:
        words = (
            f"{place} ends in .{extension}; TimeToPost takes {TAKEN}. Convert the file and upload it with upload_media."
        )
        yield "warning", words


def _is_unreachable(host: str) -> bool:
    address = _parse_address(host)
    if address is not None:
        return not address.is_global
    return "." not in host or host.endswith(_LOCAL_SUFFIXES)


def _parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    if not host.replace(".", "").replace("x", "").isalnum() or host.rpartition(".")[2][:1] not in "0123456789":
        return None
    try:
        # Browsers and servers read 127.1 and 0x7f000001 as addresses too.
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _is_page(host: str, path: str, query: str) -> bool:
    bare = host.removeprefix("www.").removeprefix("m.")
    if bare not in _PAGES and not bare.endswith(".sharepoint.com"):
        return False
    return not (path.startswith(_DIRECT_PATHS) or "/raw/" in path or any(each in query for each in _DIRECT_QUERIES))


def check_media_facts(platform: str, number: int, facts: MediaFacts) -> Iterator[Finding]:
    """Compare the properties of an uploaded file with the figures of a platform."""
    found = find_platform(platform)
    name = found.name if found else platform[:50]
    rules = found.rules if found else {}
    for figure, value, problem in _measure_file(facts):
        rule = rules.get(figure)
        if rule is not None and _is_broken(rule, value):
            yield rule.otherwise, f"{name}: {rule.says}; media_urls entry {number} {problem}."


def check_media_size(number: int, facts: MediaFacts) -> Iterator[Finding]:
    """Find a file that is too small to be meant for any platform."""
    if facts.width is not None and facts.height is not None and min(facts.width, facts.height) < _LEAST_PIXELS:
        words = f"media_urls entry {number} has only {facts.width} x {facts.height} pixels. Check that it is the right file."
        yield "warning", words


def _is_broken(rule: Rule, value: float) -> bool:
    limit = float(rule.value)
    return value < limit if rule.figure.endswith("_least") else value > limit


def _measure_file(facts: MediaFacts) -> Iterator[tuple[str, float, str]]:
    """Figures that the file has a value for, each with the value and words for it."""
    if facts.is_video:
        if facts.duration_seconds is not None:
            yield "video_seconds_most", facts.duration_seconds, f"has {round_up(facts.duration_seconds)} s"
        return
    yield "image_bytes_most", facts.size_bytes, f"has {round_up(facts.size_bytes / 1e6)} MB"
    if facts.width and facts.height:
        words = f"has {facts.width} x {facts.height} pixels"
        yield "image_width_least", facts.width, words
        yield "image_sides_most", facts.width + facts.height, words
        for figure in ("image_ratio_least", "image_ratio_most"):
            yield figure, facts.width / facts.height, words


def round_up(value: float) -> str:
    """Show a value to the next tenth, so that one beyond a limit doesn't look like the limit."""
    return f"{math.ceil(round(value * 10, 6)) / 10:g}"
