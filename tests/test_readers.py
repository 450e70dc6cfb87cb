"""Other users who may read a file."""

import ctypes
import os
import sys

import pytest

from tests.support.windows import WINDOWS, needs_modes
from ttp_mcp.config.readers import build_icacls, find_other_readers, how_to_make_private, parse_readers

pytestmark = pytest.mark.requirement("config.readers")


@pytest.mark.parametrize(
    ("access_list", "readers"),
    [
        ("D:(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;S-1-5-21-1-2-3-1001)", []),
        ("D:P(A;;FA;;;OW)(A;;FA;;;CO)", []),
        ("D:AI(A;ID;FA;;;SY)(A;ID;0x1200a9;;;BU)", ["Users"]),
        ("D:(A;;FR;;;WD)(A;;GRGX;;;AU)(A;;GA;;;WD)", ["Everyone", "Authenticated Users"]),
        ("D:(A;;FA;;;BU)(A;;FR;;;AN)", ["Users", "Anonymous"]),
        ("D:(A;;0x10000000;;;AU)(A;;GR;;;BG)", ["Authenticated Users", "Guests"]),
        ("D:(A;;CCLCSWLORC;;;IU)(A;;0x80000000;;;BG)", ["Interactive Users", "Guests"]),
        ("D:(A;;FW;;;WD)(A;;0x100002;;;BU)", []),
        ("D:(A;OICIIO;GA;;;BU)(A;OICI;FA;;;SY)", []),
        ("D:(D;;FA;;;WD)(A;;FA;;;SY)", []),
        ("D:NO_ACCESS_CONTROL", ["Everyone"]),
    ],
)
def test_groups_that_an_access_list_lets_read_are_named_once(access_list, readers):
    """System, administrators and the owner are not other users; writing and what holds for new files only don't count."""
    assert parse_readers(access_list) == readers


@needs_modes
@pytest.mark.parametrize(
    ("mode", "readers"), [(0o600, []), *((mode, ["other users"]) for mode in (0o640, 0o604, 0o620))]
)
def test_mode_that_lets_others_read_is_found(tmp_path, mode, readers):
    """Group and others count alike."""
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    assert find_other_readers(path) == readers


@needs_modes
def test_command_of_other_systems_quotes_the_path(tmp_path):
    assert how_to_make_private(tmp_path / "a file", with_folder=True) == f"chmod 600 '{tmp_path}/a file'"
    assert how_to_make_private("FILE") == "chmod 600 FILE"


@pytest.mark.parametrize(
    ("environ", "user"),
    [
        ({"USERDOMAIN": "HARBOR", "USERNAME": "Ann"}, r"HARBOR\Ann"),
        ({"USERNAME": "Ann"}, "Ann"),
        ({"USERDOMAIN": "HARBOR"}, "*S-1-3-4"),
    ],
)
def test_command_of_windows_names_the_user(environ, user):
    """PowerShell wouldn't replace %USERNAME%. The files of a ledger are made with the access list of their folder."""
    path = r"D:\ttp state\ledger.db"
    assert build_icacls(path, environ) == f'icacls "{path}" /inheritance:r /grant:r "{user}:F"'
    assert build_icacls(path, environ, with_folder=True) == (
        f'icacls "D:\\ttp state" /inheritance:r /grant:r "{user}:(OI)(CI)F"'
    )


def test_command_of_windows_is_for_the_file_alone_unless_its_folder_counts(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    path = r"D:\ttp\token"
    assert how_to_make_private(path) == build_icacls(path, os.environ)
    assert how_to_make_private(path, with_folder=True) == build_icacls(path, os.environ, with_folder=True)


@pytest.mark.skipif(not WINDOWS, reason="access lists of Windows")
@pytest.mark.parametrize(
    ("access_list", "readers"),
    [("D:P(A;;FA;;;WD)", ["Everyone"]), ("D:P(A;;FA;;;OW)", []), ("D:P(A;;FA;;;OW)(A;;FR;;;WD)", ["Everyone"])],
)
def test_access_list_of_a_file_is_read(tmp_path, access_list, readers):
    """The ledger's, and that of the token's file."""
    path = tmp_path / "file with a blank.db"
    path.touch()
    set_access_list(path, access_list)
    assert find_other_readers(path) == readers


def set_access_list(path, access_list):
    """As `icacls` does."""
    descriptor, advapi = ctypes.c_void_p(), ctypes.WinDLL("advapi32")
    assert advapi.ConvertStringSecurityDescriptorToSecurityDescriptorW(access_list, 1, ctypes.byref(descriptor), None)
    access_list_only = 4
    assert advapi.SetFileSecurityW(str(path), access_list_only, descriptor)


def test_file_that_is_missing_has_no_readers(tmp_path):
    """The caller reports what is wrong with it."""
    assert find_other_readers(tmp_path / "missing") == []
