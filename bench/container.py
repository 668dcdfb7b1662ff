"""Build the image of deploy/Containerfile and run the sample's night in it and outside, both at once: `python bench/container.py [--keep]`.

As root on Debian with the packages buildah and mmdebstrap: no registry is asked, since the base is a minimal Debian of mmdebstrap. Measured are the
size of the image, time, seconds of processors and memory of both nights, of which each has one core, and whether the container wrote anything but its
volume: it runs as its user, to whom no file belongs. Where the machine has other work, the seconds of processors are those to compare. With --keep,
the storage of buildah stays below /tmp, and the next run begins with its image.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = Path(tempfile.gettempdir()) / "nightshift-image"
STORAGE = ["--root", str(FOLDER / "storage"), "--runroot", str(FOLDER / "run"), "--storage-driver", "vfs"]
ANYTHING = '{"default": [{"type": "insecureAcceptAnything"}]}'  # nothing is pulled
SUITE = "bookworm"
# what debian:bookworm-slim leaves out
SLIM = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")]
# neither a network of its own nor cgroups, so that it can be run where this machine is a container itself
ISOLATED = os.environ | {"BUILDAH_ISOLATION": "chroot", "TMPDIR": str(FOLDER)}
NIGHT = str(datetime.now(UTC).date() - timedelta(1))


IN_IT = ["buildah", *STORAGE, "run", "--volume", f"{FOLDER}/volume:/var/lib/nightshift"]
EXAMPLES = REPOSITORY / "tests/examples/telemetry/taxonomist"
# what no night of the sample needs: files of HDF5
READ_HDF = "import sys; from nightshift.sources.telemetry.opening import read_hdf; print(read_hdf(sys.argv[1])[0])"


def buildah(*arguments, capture=True):
    """What buildah prints on standard output."""
    command = ["buildah", *STORAGE, *map(str, arguments)]
    done = subprocess.run(command, env=ISOLATED, stdout=subprocess.PIPE if capture else None, text=True, check=True)
    return (done.stdout or "").strip()


def settings_of_pip():
    """Options that let a build see how this machine reaches its packages: certificates, settings of pip and folders that these name."""
    described = subprocess.run([sys.executable, "-m", "pip", "config", "debug"], capture_output=True, text=True).stdout
    places = {"/etc/ssl/certs", *re.findall(r"^\s+(\S+), exists: True", described, re.M), *re.findall(r"(?:file://)?(/[\w./-]+)", described)}
    places = {path.removesuffix("/simple") for path in places}  # an index in a folder names files beside itself
    outermost = sorted(path for path in places if os.path.exists(path) and not any(path.startswith(f"{other}/") for other in places))
    return [word for path in outermost for word in ("--volume", f"{path}:{path}:ro")]


def build():
    """Make the base and the image, unless they are there."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "policy.json").write_text(ANYTHING)
    policy = ["--signature-policy", FOLDER / "policy.json"]
    if not buildah("images", "--quiet", "--filter", "reference=localhost/base"):
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", *SLIM, "--include=ca-certificates", SUITE, FOLDER / "base.tar"], check=True)
        (FOLDER / "Base").write_text("FROM scratch\nADD base.tar /\n")
        buildah("build", *policy, "--tag", "localhost/base", "--file", FOLDER / "Base", FOLDER)
    if not buildah("images", "--quiet", "--filter", "reference=localhost/nightshift"):
        revision = subprocess.run(["git", "describe", "--always"], cwd=REPOSITORY, capture_output=True, text=True).stdout.strip()
        options = ["--build-arg", "BASE=localhost/base", "--build-arg", f"REVISION={revision}", *settings_of_pip()]
        files = ["--ignorefile", REPOSITORY / "deploy/Containerfile.containerignore", "--file", REPOSITORY / "deploy/Containerfile"]
        buildah("build", "--format", "docker", *policy, *options, *files, "--tag", "localhost/nightshift", REPOSITORY, capture=False)


def size_of(folder):
    """Bytes of all files below `folder`; a file of several names counts once."""
    files = {(stat.st_dev, stat.st_ino): stat.st_size for path in folder.rglob("*") if (stat := path.lstat()).st_mode & 0o170000 == 0o100000}
    return sum(files.values())


def watched(command, environment, measured):
    """Run a night, and put its exit code, time, seconds of processors, the largest sum of its memory and what it prints into `measured`."""
    begun, log, peak, ended = time.monotonic(), FOLDER / f"{measured['name']}.log", 0, 0
    with log.open("w") as file:
        process = psutil.Popen(command, cwd=REPOSITORY, env=environment, stdout=file, stderr=subprocess.STDOUT)
        while not ended:
            peak = max(peak, memory_of(process))
            time.sleep(1)
            ended, status, used = os.wait4(process.pid, os.WNOHANG)  # used: by all that it has started and waited for
    process.returncode = os.waitstatus_to_exitcode(status)
    measured |= {"code": process.returncode, "seconds": time.monotonic() - begun, "processors": used.ru_utime + used.ru_stime}
    measured |= {"peak": peak, "printed": log.read_text()}


def memory_of(process):
    """Bytes of a process and all below it; what they share counts once."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += one.memory_full_info().pss
    return total


def nights(container):
    """Both nights at once, each with one core: (inside, outside), what was measured of them."""
    config = json.loads(buildah("inspect", "--type", "image", "localhost/nightshift"))["Docker"]["config"]
    volume = FOLDER / "volume"
    volume.mkdir()
    os.chown(volume, *map(int, config["User"].split(":")))
    command = [*config["Entrypoint"], *config["Cmd"], "--cores", "1"]
    inside = [*IN_IT, container, "--", *command]
    done = subprocess.run(["sed", "--file", "deploy/site.sed", "config.yaml"], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    (FOLDER / "site.yaml").write_text(done.stdout.replace("/var/lib/nightshift", f"{FOLDER}/outside"))
    outside = [sys.executable, "-m", "nightshift", "nightly", "--config", str(FOLDER / "site.yaml"), "--cores", "1", "--quiet"]
    found = {"name": "inside"}, {"name": "outside"}
    works = [(inside, ISOLATED, found[0]), (outside, os.environ | {"PYTHONPATH": str(REPOSITORY)}, found[1])]
    threads = [threading.Thread(target=watched, args=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def main():
    """Build, run, print; it ends with 1 where the night inside or HDF5 failed, or the image is larger than 2 GB."""
    build()
    shutil.rmtree(FOLDER / "volume", ignore_errors=True)
    shutil.rmtree(FOLDER / "outside", ignore_errors=True)
    container = buildah("from", "--signature-policy", FOLDER / "policy.json", "localhost/nightshift")
    try:
        image = Path(buildah("mount", container))
        size = size_of(image)
        begun = time.time()
        inside, outside = nights(container)
        status = ["nightshift", "status", "--config", "/etc/nightshift/site.yaml"]
        health = subprocess.run([*IN_IT, container, "--", *status], env=ISOLATED)
        mounted = [*IN_IT, "--volume", f"{EXAMPLES}:/examples:ro", container, "--"]
        hdf = subprocess.run([*mounted, "python", "-c", READ_HDF, f"/examples/{next(EXAMPLES.glob('*.hdf')).name}"], env=ISOLATED)
        written = [path for path in image.rglob("*") if path.is_file() and not path.is_symlink() and path.stat().st_mtime > begun]
        print(f"image, GB                 {size / 1e9:6.2f}   bar 2.0")
        for one in (inside, outside):
            used = f"{one['seconds']:.0f} s, {one['processors']:.0f} s of processors, peak of memory {one['peak'] / 2**30:.2f} GiB"
            print(f"night {one['name']:<8} exit code {one['code']}, {used}")
        print(f"time inside / outside     {inside['seconds'] / outside['seconds']:6.2f}   bar 1.1")
        print(f"the same of processors    {inside['processors'] / outside['processors']:6.2f}   (load of the machine {os.getloadavg()[1]:.1f})")
        print(f"health, exit code         {health.returncode:6}")
        print(f"HDF5 read, exit code      {hdf.returncode:6}")
        print(f"files written beside      {len(written):6}   {[str(path.relative_to(image)) for path in written[:5]]}")
        print(inside["printed"].strip())
        published = FOLDER / "volume/reports" / NIGHT / "index.html"
        good = inside["code"] == outside["code"] == health.returncode == hdf.returncode == 0 and published.exists() and not written and size <= 2e9
    finally:
        buildah("rm", container)
        if "--keep" not in sys.argv[1:]:
            shutil.rmtree(FOLDER)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
