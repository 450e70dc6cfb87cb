"""Paths as people type them, read for each system on any system."""

import pytest

from ttp_mcp.media.errors import FileRefused
from ttp_mcp.media.paths import check_parts, is_absolute, parse_source, split_below

pytestmark = pytest.mark.requirement("uploads.typed_paths")

PICS = "C:/Users/Ann/Pictures"
HOME = "C:/Users/Ann"


def below(source, folder, **options):
    """The parts of a Windows path below a folder; None if it isn't absolute or not below it."""
    typed = parse_source(source, HOME, windows=True)
    return split_below(typed, folder, ignore_case=True) if is_absolute(typed, windows=True) else None


@pytest.mark.parametrize(
    "source",
    [
        r"C:\Users\Ann\Pictures\trip\a b.png",
        "C:/Users/Ann/Pictures/trip/a b.png",
        r"C:\Users\Ann\Pictures/trip\a b.png",
        r"c:\users\ANN\pictures\trip\a b.png",
        r"C:\\Users\\Ann\\Pictures\\trip\\a b.png",
        r"\\?\C:\Users\Ann\Pictures\trip\a b.png",
        "//?/C:/Users/Ann/Pictures/trip/a b.png",
        "file:///C:/Users/Ann/Pictures/trip/a%20b.png",
        "FILE:///c:/Users/Ann/Pictures/trip/a%20b.png",
        "file://localhost/C:/Users/Ann/Pictures/trip/a%20b.png",
        "file:/C:/Users/Ann/Pictures/trip/a%20b.png",
        r"file:///C:\Users\Ann\Pictures\trip\a%20b.png",
        '"C:\\Users\\Ann\\Pictures\\trip\\a b.png"',
        "\u202aC:\\Users\\Ann\\Pictures\\trip\\a b.png",
        "  'C:/Users/Ann/Pictures/trip/a b.png'\n",
        r"~\Pictures\trip\a b.png",
        "~/Pictures/trip/a b.png",
    ],
)
def test_windows_path_below_the_folder_is_understood(source):
    """Both separators, any case, literal prefix, URL, quotes and home."""
    assert below(source, PICS) == ["trip", "a b.png"]


@pytest.mark.parametrize(
    "source",
    [
        r"\\server\share\pics\a.png",
        "//server/share/pics/a.png",
        r"\\?\UNC\server\share\pics\a.png",
        "file://server/share/pics/a.png",
        r"\\SERVER\Share\pics\a.png",
    ],
)
def test_path_of_a_network_share_is_understood(source):
    """Also as a literal path and as a URL."""
    assert below(source, "//server/share/pics") == ["a.png"]
    assert below(source, "//server/other/pics") is None


@pytest.mark.parametrize("folder", ["C:/", "c:/"])
def test_folder_that_is_a_drive_is_understood(folder):
    """Its own separator at the end is not counted."""
    assert below(r"C:\a.png", folder) == ["a.png"]
    assert below(r"D:\a.png", folder) is None


@pytest.mark.parametrize(
    "source", [PICS, f"{PICS}x/a.png", "C:/Users/a.png", "D:/Users/Ann/Pictures/a.png", r"\\server\share\a.png"]
)
def test_path_beside_the_folder_is_not_below_it(source):
    """The folder itself, one whose name begins alike, and others."""
    assert below(source, PICS) is None


@pytest.mark.parametrize("source", [r"trip\a.png", "trip/a.png", r" trip\a.png "])
def test_relative_windows_path_is_split_at_either_separator(source):
    """It is meant below each allowed folder."""
    typed = parse_source(source, HOME, windows=True)
    assert not is_absolute(typed, windows=True)
    assert typed.split("/") == ["trip", "a.png"]


@pytest.mark.parametrize(
    "source",
    [
        r"C:\Users\Ann\Pictures\photo.png:evil",
        r"C:\Users\Ann\Pictures\photo.png::$DATA",
        r"C:photo.png",
        "photo.png:evil.png",
        r"..\photo.png",
        r"trip\..\photo.png",
        r"trip\\photo.png",
        r"\photo.png",
        r".hidden\photo.png",
        r"\\.\PhysicalDrive0\a.png",
        "photo\t.png",
    ],
)
def test_windows_path_with_a_trick_is_refused(source):
    """Streams, drives without a root, ways up, devices."""
    parts = below(source, PICS) or parse_source(source, HOME, windows=True).split("/")
    with pytest.raises(FileRefused):
        check_parts(parts, windows=True)


def test_case_counts_where_the_file_system_counts_it():
    """On Linux two folders may differ in it alone; on macOS accents are stored in two ways."""
    assert split_below("/Pics/a.png", "/pics", ignore_case=False) is None
    assert split_below("/Pics/a.png", "/pics", ignore_case=True) == ["a.png"]
    assert split_below("/Cre\u0300me/a.png", "/Cr\u00e8me", ignore_case=True) == ["a.png"]


def test_home_is_only_used_where_it_is_known():
    """A service may have none."""
    assert parse_source("~/a.png", "/home/ann/", windows=False) == "/home/ann/a.png"
    assert parse_source("~/a.png", None, windows=False) == "~/a.png"


@pytest.mark.parametrize("url", ["file://server/share/a.png", "file:///a.png?x", "file:///a.png#x", "file://[/a.png"])
def test_file_url_of_another_form_is_refused(url):
    """A host only names a share on Windows."""
    with pytest.raises(FileRefused, match="must have the form file:///path"):
        parse_source(url, None, windows=False)
