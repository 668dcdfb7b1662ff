"""The kernel in which the chain runs notebooks: the Python that runs the chain, whatever else is installed
under the name python3.
"""

import os
import signal
import sys
from typing import ClassVar

from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec

ENDED_WELL = "it ended with exit code 0"  # in the words of Kernel.death


def launch():
    """Run a kernel, which ends this process. It has no debugger: nobody steps through a night, and importing
    one takes a quarter of a second.
    """
    sys.modules["debugpy"] = None
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()


class Kernel(AsyncKernelManager):
    """A kernel manager that looks for no kernelspec, and remembers the processes that it started."""

    # of this process, in the order of their starts: nbclient makes the manager, and keeps it to itself
    processes: ClassVar[list] = []

    @property
    def kernel_spec(self):
        """What would start a kernel, with the interpreter of this process."""
        argv = [sys.executable, "-m", "nightshift.forkserver", "nightshift.kernel:launch"]
        # it ends with its parent, which is known when it is asked for
        argv += ["-f", "{connection_file}", f"--IPKernelApp.parent_handle={os.getpid()}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")

    async def _async_launch_kernel(self, kernel_cmd, **kw):
        await super()._async_launch_kernel(kernel_cmd, **kw)
        self.processes.append(getattr(self.provisioner, "process", None))

    @classmethod
    def death(cls):
        """How the last kernel ended by itself, in words; "" where it still runs, never began, or nobody
        knows.
        """
        process = cls.processes[-1] if cls.processes else None
        code = process.poll() if process else None
        if code is None:
            return ""
        if code >= 0:
            return f"it ended with exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
        return (
            f"killed by signal {-code} ({name}){', perhaps out of memory' if -code == signal.SIGKILL else ''}"
        )
