"""The Kubernetes manifests as `kubectl kustomize deploy/kubernetes` would print them, for machines that have neither.

    python scripts/kubernetes.py [--folder deploy/kubernetes]

Knows what our files use (namespace, labels with selectors, images) and refuses anything else, so that it can't be wrong in
silence. `.ci/packages` validates its output with the schemas of Kubernetes.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "deploy" / "kubernetes"
_KNOWN = {"apiVersion", "kind", "namespace", "labels", "resources", "images"}
# Kinds that belong to no namespace.
_CLUSTER_WIDE = {"Namespace"}


def built(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """All objects, finished.

    Raises:
        ValueError: The kustomization uses what this does not know.
    """
    rules = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    unknown = rules.keys() - _KNOWN
    if unknown:
        raise ValueError(f"kustomization.yaml uses {', '.join(sorted(unknown))}")
    objects = [
        each for name in rules["resources"] for each in yaml.safe_load_all((folder / name).read_text(encoding="utf-8"))
    ]
    for each in objects:
        _finish(each, rules)
    return objects


def _finish(each: dict[str, Any], rules: dict[str, Any]) -> None:
    if each["kind"] not in _CLUSTER_WIDE:
        each["metadata"]["namespace"] = rules["namespace"]
    for labels in rules["labels"]:
        each["metadata"].setdefault("labels", {}).update(labels["pairs"])
        if labels.get("includeSelectors"):
            _select(each, labels["pairs"])
    images = {image["name"]: f"{image['name']}:{image['newTag']}" for image in rules["images"]}
    for container in _pod(each).get("containers", []):
        container["image"] = images.get(container["image"], container["image"])


def _select(each: dict[str, Any], pairs: dict[str, str]) -> None:
    spec = each.get("spec", {})
    match each["kind"]:
        case "Service":
            spec["selector"].update(pairs)
        case "Deployment":
            spec["selector"]["matchLabels"].update(pairs)
            spec["template"]["metadata"]["labels"].update(pairs)
        case "PodDisruptionBudget":
            spec["selector"]["matchLabels"].update(pairs)
        case "NetworkPolicy":
            spec["podSelector"]["matchLabels"].update(pairs)
        case _:
            pass


def _pod(each: dict[str, Any]) -> dict[str, Any]:
    return each.get("spec", {}).get("template", {}).get("spec", {}) if each["kind"] == "Deployment" else {}


def main() -> int:
    """Print them."""
    parser = argparse.ArgumentParser(description="Print the finished Kubernetes manifests.")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    yaml.safe_dump_all(built(parser.parse_args().folder), sys.stdout, sort_keys=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
