"""Paths and files of macOS, on a file system that behaves like its own: any case, and accents in either form."""

import errno
import os
import stat
import unicodedata
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from ttp_mcp.media.errors import FileRefused
from ttp_mcp.media.files import folder_problems, open_below

pytestmark = [
    pytest.mark.requirement("uploads.macos"),
    pytest.mark.skipif(os.name != "posix", reason="a file system of macOS is made of POSIX calls"),
]


def fold_name(name):
    return unicodedata.normalize("NFC", name).casefold()


class AppleFiles:
    """The calls of `os` that find a file by its path, as APFS does: in any case, with accents in either form."""

    def __init__(self):
        self.real = {name: getattr(os, name) for name in ("open", "stat", "lstat", "access")}
        self.listdir = os.listdir

    def find(self, path, dir_fd=None):
        """The path as it is stored, as far as it is there."""
        if not isinstance(path, str | Path):
            return path
        found = Path()
        for part in Path(path).parts:
            names = []
            with suppress(OSError):
                place = os.fspath(found) if dir_fd is None or found.parts else dir_fd
                names = self.listdir(place)
            found /= next((name for name in names if fold_name(name) == fold_name(part)), part)
        return os.fspath(found)

    def call(self, name):
        def found(path, *args, dir_fd=None, **options):
            if dir_fd is not None:
                options["dir_fd"] = dir_fd
            return self.real[name](self.find(path, dir_fd), *args, **options)

        return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An allowed folder in a home, with a picture; its disk ignores case and the form of accents."""
    apple = AppleFiles()
    allowed = tmp_path / "Users" / "ann" / "Pictures"
    (allowed / unicodedata.normalize("NFD", "Été")).mkdir(parents=True)
    (allowed / "Photo.jpg").write_bytes(b"picture")
    (allowed / unicodedata.normalize("NFD", "Été") / unicodedata.normalize("NFD", "Café.jpg")).write_bytes(b"cafe")
    monkeypatch.setenv("HOME", str(allowed.parent))
    for name in apple.real:
        monkeypatch.setattr(os, name, apple.call(name))
    return allowed


def read_content(source, *roots):
    """All bytes of a file that opens."""
    with open_below(str(source), roots, system="macos") as file:
        return file.read_at(0, file.size + 1)


def read_refusal(source, *roots):
    """The words of a refusal."""
    with pytest.raises(FileRefused) as caught:
        open_below(str(source), roots, system="macos")
    return str(caught.value)


def change_case(path):
    """The same path in other letters."""
    return Path(str(path).swapcase())


def test_folder_in_another_case_is_the_allowed_one(folder):
    """In the setting or in the request."""
    for root, source in (
        (change_case(folder), folder / "Photo.jpg"),
        (folder, change_case(folder) / "PHOTO.JPG"),
        (folder, "photo.JPG"),
    ):
        assert read_content(source, root) == b"picture"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_are_found_in_either_form(folder, form):
    """macOS stores what was typed, and the Finder types them apart."""
    source = unicodedata.normalize(form, "Été/Café.jpg")
    assert read_content(source, folder) == b"cafe"
    assert read_content(folder / source, folder) == b"cafe"


def test_home_folder_in_another_case_is_not_allowed(folder):
    """It would hold more than media."""
    home = change_case(folder.parent)
    assert "is your home folder or holds it" in read_refusal("Photo.jpg", home)
    assert folder_problems([home]) == ["entry 1 of TTP_MEDIA_DIRS is your home folder or holds it"]


def test_folder_behind_a_link_of_the_system_is_known_by_both_names(folder, tmp_path):
    """For example /var, a link to /private/var."""
    link = tmp_path / "var"
    link.symlink_to(folder)
    for root in (link, folder):
        assert read_content("Photo.jpg", root) == b"picture"
    assert read_content(folder / "Photo.jpg", link) == b"picture"
    assert read_content(change_case(link) / "photo.jpg", link) == b"picture"


@pytest.mark.parametrize("hidden", ["Photo.jpg", "Été"])
def test_flag_that_hides_a_file_or_folder_is_respected(folder, monkeypatch, hidden):
    """The Finder sets it, and the system for the user's Library."""
    hidden = folder / unicodedata.normalize("NFD", hidden)
    number, real = hidden.stat().st_ino, os.fstat

    def fstat(descriptor):
        found = real(descriptor)
        if found.st_ino != number:
            return found
        return SimpleNamespace(
            **{name: getattr(found, name) for name in dir(found) if name.startswith("st_")}, st_flags=stat.UF_HIDDEN
        )

    monkeypatch.setattr(os, "fstat", fstat)
    source = "Photo.jpg" if hidden.name == "Photo.jpg" else "Été/Café.jpg"
    assert "hidden files and folders are never read" in read_refusal(source, folder)


@pytest.mark.requirement("uploads.words")
@pytest.mark.parametrize("kept", ["Pictures", "Photo.jpg"])
def test_folder_protected_by_macos_is_reported_as_such(folder, monkeypatch, kept):
    """Desktop, Documents and Downloads, until the user allows the client; modes don't show it."""
    real = os.open

    def opening(path, *args, **options):
        if str(path).endswith(kept):
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", opening)
    assert read_refusal("Photo.jpg", folder) == (
        "Not uploaded: «Photo.jpg»: macOS keeps this program out of its folder. In System Settings, Privacy & Security, "
        "Files and Folders, allow it for the program that starts this server; nothing was sent, repeating is safe."
    )


@pytest.mark.requirement("uploads.words")
def test_file_whose_permissions_refuse_it_is_reported_as_such(folder, monkeypatch):
    """The system's protection has another number."""
    real = os.open

    def opening(path, *args, **options):
        if str(path).endswith("Photo.jpg"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", opening)
    assert "this server may not read it. Change its permissions" in read_refusal("Photo.jpg", folder)


def test_resource_fork_is_not_read(folder):
    """A second content of a file, below its name."""
    assert "hidden files and folders are never read" in read_refusal("Photo.jpg/..namedfork/rsrc", folder)
