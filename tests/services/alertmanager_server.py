"""An Alertmanager for tests: of Debian's package, on loopback, without a cluster, in a folder of its own."""

from contextlib import contextmanager

import requests
from daemons import PATH, free_ports, running

PROGRAM = "prometheus-alertmanager"
CONFIG = "route: {receiver: nobody, group_by: [alertname], group_wait: 1s}\nreceivers: [{name: nobody}]\n"


@contextmanager
def alertmanager(folder):
    """Run an Alertmanager with its files in `folder` until the block ends; yields its address."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    (folder / "alertmanager.yml").write_text(CONFIG)
    command = [PROGRAM, f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with running(command, folder, ready=lambda: is_ready(url), env={"PATH": PATH}):
        yield url


def is_ready(url):
    """Whether the Alertmanager at `url` takes requests."""
    try:
        return requests.get(f"{url}/-/ready", timeout=1).ok
    except requests.RequestException:
        return False


def alerts_at(url, *, active=True):
    """[(labels, annotations)] of the alerts that the Alertmanager at `url` has and that have not ended, sorted by their labels."""
    found = requests.get(f"{url}/api/v2/alerts", params={"active": active}, timeout=5).json()
    return sorted(((one["labels"], one["annotations"]) for one in found), key=lambda pair: sorted(pair[0].items()))
