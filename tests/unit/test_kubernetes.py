"""The manifests in deploy/kubernetes: rendered, held against the schemas of Kubernetes, and against what they stand for."""

import copy
import re
import shutil
import subprocess
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from conftest import REPOSITORY
from kustomization import pod_of, render

from nightshift.config import load

OVERLAY = REPOSITORY / "deploy/kubernetes/overlays/example"
VERSIONS = ["1.35", "1.36", "1.37"]


def kubectl(folder):
    """What Kustomize itself makes of the folder, in the order of `render`."""
    done = subprocess.run(["kubectl", "kustomize", folder], check=True, capture_output=True, text=True, timeout=60)
    return list(yaml.safe_load_all(done.stdout))


def has_kustomize():
    """Whether there is a kubectl with a Kustomize of today; that of Debian 12, of 2018, knows none of `patches` and `resources` as they are here."""
    if not shutil.which("kubectl"):
        return False
    shown = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, timeout=60).stdout
    return bool(re.search(r"Kustomize Version: v[5-9]", shown))


RENDERERS = [render, *([kubectl] if has_kustomize() else [])]


@pytest.fixture(scope="module")
def objects():
    return {one["kind"]: one for one in render(OVERLAY)}


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_fits_the_schema_of_kubernetes(renderer, version):
    found = renderer(OVERLAY)
    assert [one["kind"] for one in found] == ["Namespace", "ConfigMap", "PersistentVolumeClaim", "Deployment", "CronJob", "NetworkPolicy"]
    for one in found:
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("renderer", RENDERERS)
def test_all_renderers_agree(renderer):
    assert renderer(OVERLAY) == render(OVERLAY)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_field_that_there_is_not_is_refused(objects, version):
    wrong = copy.deepcopy(objects["CronJob"])
    wrong["spec"]["concurrencyPolice"] = wrong["spec"].pop("concurrencyPolicy")
    with pytest.raises(kubernetes_validate.ValidationError, match="concurrencyPolice"):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_one_night_at_a_time_starts_when_the_timer_of_systemd_does(objects):
    spec = objects["CronJob"]["spec"]
    minute, hour, *days = spec["schedule"].split()
    timer = (REPOSITORY / "deploy/systemd/nightshift-nightly.timer").read_text()
    assert f"OnCalendar=*-*-* {int(hour):02}:{minute}:00 UTC" in timer
    assert (days, spec["timeZone"], spec["concurrencyPolicy"]) == (["*"] * 3, "Etc/UTC", "Forbid")
    assert spec["startingDeadlineSeconds"] < 24 * 3600
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0


@pytest.mark.parametrize("kind", ["CronJob", "Deployment"])
def test_the_pod_keeps_to_the_restricted_standard(objects, kind):
    """What https://kubernetes.io/docs/concepts/security/pod-security-standards/ asks of "restricted", which the namespace enforces, and more."""
    assert objects["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = pod_of(objects[kind])
    security, [container] = pod["securityContext"], pod["containers"]
    assert (security["runAsNonRoot"], security["seccompProfile"]["type"]) == (True, "RuntimeDefault")
    own = container["securityContext"]
    assert (own["allowPrivilegeEscalation"], own["capabilities"], own["readOnlyRootFilesystem"]) == (False, {"drop": ["ALL"]}, True)
    assert set(pod) & {"hostNetwork", "hostPID", "hostIPC", "initContainers"} == set()
    assert {kind for volume in pod["volumes"] for kind in volume} == {"name", "persistentVolumeClaim", "configMap"}
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize(("kind", "command"), [("CronJob", ["nightly"]), ("Deployment", ["live", "transfers"])])
def test_the_pod_is_that_of_the_image(objects, kind, command):
    containerfile = (REPOSITORY / "deploy/Containerfile").read_text()
    pod = pod_of(objects[kind])
    [container] = pod["containers"]
    user, group = re.search(r"^USER (\d+):(\d+)$", containerfile, re.M).groups()
    security = pod["securityContext"]
    assert [security[name] for name in ("runAsUser", "runAsGroup", "fsGroup")] == [int(user), int(group), int(group)]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert re.findall(r"^VOLUME (.*)$", containerfile, re.M) == [mounts["products"]["mountPath"]]
    assert [name for name, mount in mounts.items() if not mount.get("readOnly")] == ["products"]
    words = [*command, "--config", f"{mounts['configuration']['mountPath']}/site.yaml"]
    assert container["args"][: len(words)] == words


@pytest.mark.parametrize("kind", ["CronJob", "Deployment"])
def test_what_the_pod_refers_to_is_there(objects, kind):
    pod = pod_of(objects[kind])
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["products"]["persistentVolumeClaim"]["claimName"] == objects["PersistentVolumeClaim"]["metadata"]["name"]
    assert volumes["configuration"]["configMap"]["name"] == objects["ConfigMap"]["metadata"]["name"]
    labels = objects[kind]["spec"].get("jobTemplate", objects[kind])["spec"]["template"]["metadata"]["labels"]
    assert objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_the_configuration_is_right_and_the_network_lets_out_to_what_it_names_and_to_nothing_else(objects, tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(objects["ConfigMap"]["data"]["site.yaml"])
    config = load(path)
    assert config["products"] == "/var/lib/nightshift"
    arguments = pod_of(objects["Deployment"])["containers"][0]["args"]
    named = [study["extract"]["source"] for study in config["studies"].values()] + [config["mail"]["server"]]
    named = [address for address in named if "://" in address] + [arguments[arguments.index("--broker") + 1]]
    policy = objects["NetworkPolicy"]["spec"]
    names, *others = policy["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    assert sorted(urlsplit(address).port for address in named) == sorted(port["port"] for one in others for port in one["ports"])
    assert all(peer["ipBlock"]["cidr"].endswith("/32") for one in others for peer in one["to"])
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    assert "ingress" not in policy


def test_one_process_receives_what_the_night_reads(objects):
    """Two would not get the lock of the folder, and the nights read the files that it writes."""
    spec = objects["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    config = yaml.safe_load(objects["ConfigMap"]["data"]["site.yaml"])
    assert config["studies"]["transfers"]["extract"]["source"] == f"{config['products']}/data/live/transfers/*.jsonl"
