"""The Kubernetes manifests, as kustomize builds them."""

import json
from typing import Any

import pytest

from tests.packages.conftest import load_script
from ttp_mcp import __version__
from ttp_mcp.config import SETTINGS

pytestmark = pytest.mark.requirement("packages.kubernetes")


@pytest.fixture
def objects() -> dict[str, dict[str, Any]]:
    """The objects by kind; there is one of each."""
    built = load_script("kubernetes").built()
    found = {each["kind"]: each for each in built}
    assert len(found) == len(built)
    return found


@pytest.fixture
def pod(objects) -> dict[str, Any]:
    """The pod template."""
    return objects["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture
def container(pod) -> dict[str, Any]:
    """Its only container."""
    (only,) = pod["containers"]
    return only


def test_objects_are_all_in_one_namespace(objects):
    assert objects.keys() == {"Namespace", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"}
    assert {each["metadata"].get("namespace") for kind, each in objects.items() if kind != "Namespace"} == {"ttp-mcp"}


def test_image_is_of_this_version(container):
    """Never `latest`: a restart must not be an update."""
    assert container["image"] == f"ghcr.io/timetopost/ttp-mcp:{__version__}"


def test_pod_has_minimal_privileges(pod, container):
    """Not root, a read-only root, no capabilities, no service account's token."""
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_pod_has_limits(pod, container):
    """Memory and time to shut down; writable folders have a size."""
    assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert all(volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if "emptyDir" in volume)
    # The server itself takes up to 10 s to finish what is under way.
    assert pod["terminationGracePeriodSeconds"] > 10


def test_pod_has_probes(container):
    """Started, alive, ready."""
    probes = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert probes == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


def test_one_pod_is_kept_through_disruptions(objects):
    """An update never has fewer than before."""
    deployment = objects["Deployment"]["spec"]
    assert deployment["replicas"] > objects["PodDisruptionBudget"]["spec"]["minAvailable"] >= 1
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_secrets_are_references(container):
    """No manifest contains a secret's value."""
    secret = {setting.name for setting in SETTINGS if setting.secret}
    env = {each["name"]: each for each in container["env"]}
    assert [name for name in secret & env.keys() if "value" in env[name]] == []
    assert "ttp_" not in json.dumps(container)


def test_settings_exist_in_the_server(container):
    """A misspelled one would be ignored."""
    assert {each["name"] for each in container["env"]} <= {setting.name for setting in SETTINGS}


def test_selectors_match_the_pods(objects):
    """Of the service, the budget and the policy."""
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        objects["Service"]["spec"]["selector"],
        objects["Deployment"]["spec"]["selector"]["matchLabels"],
        objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels for selector in selectors)


def test_policy_admits_only_labeled_clients(objects):
    """To the one port."""
    (rule,) = objects["NetworkPolicy"]["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8000}]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"ttp-mcp/client": "true"}}}]
