"""What of Kustomize the manifests in deploy/kubernetes need, for machines without it: resources, namespace, images, files in a ConfigMap, patches."""

import yaml

CLUSTER_WIDE = {"Namespace"}
ORDER = ["Namespace", "ConfigMap", "PersistentVolumeClaim", "Deployment", "CronJob", "NetworkPolicy"]
KNOWN = {"apiVersion", "kind", "namespace", "resources", "images", "configMapGenerator", "generatorOptions", "patches"}


def render(folder):
    """The objects of the kustomization in `folder`, a list of dicts, by kind."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(kustomization) <= KNOWN
    objects = []
    for name in kustomization["resources"]:
        path = (folder / name).resolve()
        objects += render(path) if path.is_dir() else yaml.safe_load_all(path.read_text())
    for one in kustomization.get("configMapGenerator", []):
        assert kustomization["generatorOptions"] == {"disableNameSuffixHash": True}
        files = {name: (folder / name).read_text() for name in one["files"]}
        objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": one["name"]}, "data": files})
    for patch in kustomization.get("patches", []):
        [target] = [one for one in objects if (one["kind"], one["metadata"]["name"]) == tuple(patch["target"].values())]
        for operation in yaml.safe_load((folder / patch["path"]).read_text()):
            append(target, **operation)
    for image in kustomization.get("images", []):
        for container in containers(objects):
            if container["image"] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
    for one in objects:
        if one["kind"] not in CLUSTER_WIDE:
            one["metadata"]["namespace"] = kustomization["namespace"]
    return sorted(objects, key=lambda one: ORDER.index(one["kind"]))


def append(target, *, op, path, value):
    """Apply to `target` a patch that adds to the end of a list."""
    *keys, last = path.strip("/").split("/")
    assert (op, last) == ("add", "-")
    for key in keys:
        target = target[key]
    target.append(value)


def containers(objects):
    """The containers of all jobs and deployments among the objects."""
    return [one for job in objects if job["kind"] in ("CronJob", "Deployment") for one in pod_of(job)["containers"]]


def pod_of(job):
    """What a pod of a CronJob or of a Deployment is like."""
    return job["spec"].get("jobTemplate", job)["spec"]["template"]["spec"]
