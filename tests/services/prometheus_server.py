"""A private Prometheus or VictoriaMetrics that scrapes a real node exporter and a small page of GPU metrics, for tests: on loopback, stopped by
process id.
"""

import threading
import time
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from daemons import free_ports, lacking, running, wait_until

NODE_EXPORTER = "prometheus-node-exporter"
SERVERS = {  # {program: (its arguments, the path that answers when it is ready)}; both are packages of Debian 12
    "prometheus": (
        ["--config.file={folder}/prometheus.yml", "--storage.tsdb.path={folder}/data", "--web.listen-address=127.0.0.1:{port}"],
        "/-/ready",
    ),
    "victoria-metrics": (
        [
            "-promscrape.config={folder}/prometheus.yml",
            "-storageDataPath={folder}/data",
            "-httpListenAddr=127.0.0.1:{port}",
            "-search.latencyOffset=1s",  # of the newest samples, which are not shown; 30 s if not given
        ],
        "/health",
    ),
}
CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: node
    static_configs: [{{targets: ["127.0.0.1:{node}"]}}]
  - job_name: kube-node
    static_configs: [{{targets: ["127.0.0.1:{node}"], labels: {{pod: "exporter-x7"}}}}]
  - job_name: gpu
    static_configs: [{{targets: ["127.0.0.1:{gpu}"]}}]
"""
# A stand-in: this is the text that a DCGM exporter gives for two GPUs, of which the second is allocated to nobody, and an exporter of
# nvidia-smi for another. Since 4.5.3-4.8.2 the label is hostname; its power is a blank. No GPU is read. Two jobs scrape the node exporter.
GPU_PAGE = """
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a",Hostname="gpu-node-1",hpc_job="4711",user="u001"} 97
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-a",Hostname="gpu-node-1",hpc_job="4711",user="u001"} 30000
DCGM_FI_DEV_FB_FREE{gpu="0",UUID="GPU-a",Hostname="gpu-node-1",hpc_job="4711",user="u001"} 10000
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a",Hostname="gpu-node-1",hpc_job="4711",user="u001"} 301.5
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a",Hostname="gpu-node-1",hpc_job="4711",user="u001"} 71
DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-b",Hostname="gpu-node-1"} 0
DCGM_FI_DEV_FB_USED{gpu="1",UUID="GPU-b",Hostname="gpu-node-1"} 5
DCGM_FI_DEV_GPU_UTIL{gpu="3",UUID="GPU-d",hostname="gpu-node-2"} 11
DCGM_FI_DEV_POWER_USAGE{gpu="3",UUID="GPU-d",hostname="gpu-node-2"} 140737488355328
DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="4",UUID="GPU-e",GPU_I_ID="7",Hostname="gpu-node-1"} 0.25
DCGM_FI_DEV_FB_USED{gpu="4",UUID="GPU-e",GPU_I_ID="7",Hostname="gpu-node-1"} 64
gpu_gfx_activity{gpu_id="2",hostname="gpu-node-3",job_id="8",job_user="u002"} 88
gpu_used_vram{gpu_id="2",hostname="gpu-node-3",job_id="8",job_user="u002"} 20000
gpu_total_vram{gpu_id="2",hostname="gpu-node-3",job_id="8",job_user="u002"} 196608
nvidia_smi_utilization_gpu_ratio{uuid="c"} 0.5
nvidia_smi_memory_used_bytes{uuid="c"} 1048576000
nvidia_smi_memory_total_bytes{uuid="c"} 4194304000
nvidia_smi_power_draw_watts{uuid="c"} 120
nvidia_smi_temperature_gpu{uuid="c"} 50
"""


def missing(program="prometheus"):
    """Programs that are needed and that this machine lacks."""
    return lacking([program, NODE_EXPORTER])


@contextmanager
def answering(answer):
    """A small HTTP server on loopback, for GET and POST: answer(headers) gives (status, text). Yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, text = answer(self.headers)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()  # the end waits for the next look
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def prometheus(folder, *, program="prometheus", scrapes=5):
    """Run one of SERVERS and a node exporter in `folder` until some scrapes are stored: (URL of the server, URL of the page of the exporter)."""
    node, server = free_ports(2)

    def answers(url):
        try:
            return requests.get(url, timeout=2).ok
        except requests.RequestException:
            return False

    with ExitStack() as daemons:

        def start(*command, ready):
            daemons.enter_context(running(command, folder, ready=lambda: answers(ready)))

        gpu = daemons.enter_context(answering(lambda headers: (200, GPU_PAGE)))
        (folder / "prometheus.yml").write_text(CONFIG.format(node=node, gpu=gpu))
        page, url = f"http://127.0.0.1:{node}/metrics", f"http://127.0.0.1:{server}"
        start(NODE_EXPORTER, f"--web.listen-address=127.0.0.1:{node}", ready=page)
        arguments, ready = SERVERS[program]
        start(program, *(one.format(folder=folder, port=server) for one in arguments), ready=url + ready)

        def stored():
            found = requests.get(f"{url}/api/v1/query", {"query": "count_over_time(up[1m])"}, timeout=5).json()["data"]["result"]
            return len(found) == 3 and min(int(series["value"][1]) for series in found) >= scrapes

        if not wait_until(stored, 60):
            raise RuntimeError("nothing was scraped")
        time.sleep(1)
        yield url, page
