"""The kernel in which the chain runs notebooks: the Python that runs the chain, whatever kernel Jupyter knows
as python3.
"""

import os
import signal
import sys
from typing import ClassVar

from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec

ENDED_WELL = "it ended with exit code 0"  # in the words of Kernel.death


def launch():
    """Run a kernel until it ends, and this process with it. It has no debugger, since nobody steps through a
    night, and importing one takes a quarter of a second.
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
        """Say how the last kernel ended by itself; "" where it runs, never began, or that is unknown."""
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
