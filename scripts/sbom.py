"""The bill of materials (CycloneDX 1.5, JSON): every package that is installed with the server, from the lock.

python scripts/sbom.py [--out dist/ttp-mcp-VERSION.cdx.json]
"""

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from ttp_mcp import __version__

ROOT = Path(__file__).resolve().parents[1]


def write(path: Path) -> None:
    """Write the bill; extras included, since people may install them."""
    uv = os.environ.get("UV") or "uv"
    command = [uv, "export", "--quiet", "--locked", "--offline", "--no-dev", "--all-extras", "--format", "cyclonedx1.5"]
    exported = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    bill = json.loads(exported)
    bill["metadata"]["component"]["version"] = __version__
    _make_reproducible(bill)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(bill, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _make_reproducible(bill: dict[str, Any]) -> None:
    """Derive number and time from the contents and the commit, where SOURCE_DATE_EPOCH names its time."""
    if (epoch := os.environ.get("SOURCE_DATE_EPOCH")) is None:
        return
    bill["metadata"]["timestamp"] = datetime.fromtimestamp(int(epoch), UTC).isoformat().replace("+00:00", "Z")
    bill["serialNumber"] = ""
    bill["serialNumber"] = uuid5(NAMESPACE_URL, json.dumps(bill, sort_keys=True)).urn


def main() -> int:
    """Write it and say how many packages it lists."""
    parser = argparse.ArgumentParser(description="Write the bill of materials.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / f"ttp-mcp-{__version__}.cdx.json")
    path = parser.parse_args().out
    write(path)
    print(f"{path}: {len(json.loads(path.read_text(encoding='utf-8'))['components'])} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
