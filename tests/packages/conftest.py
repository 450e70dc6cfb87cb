"""Shared by package tests: the repository's files, its scripts as modules, and uv."""

import importlib.util
import os
import shutil
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
# `uv run` says where uv is; it need not be on the path.
UV = os.environ.get("UV") or shutil.which("uv") or "uv"
needs_uv = pytest.mark.skipif(not shutil.which(UV), reason="needs uv: call `uv run pytest`, or put uv on the path")


def read_text(name: str) -> str:
    """Return a file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def load_script(name: str) -> ModuleType:
    """Return a script of the repository as a module."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
