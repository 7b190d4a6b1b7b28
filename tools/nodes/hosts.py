"""Two hosts on this machine: network namespaces that are joined by a pair of virtual network devices.

They need root and the program `ip` of Debian's package iproute2. Both see the same files, as machines with a shared
folder do. The network of this machine is not changed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from facekp.core.errors import UserError

PORT = 29500  # of torchrun on the first host
ENDING = 20.0  # seconds that killed processes may take
TORCHRUN = "torch.distributed.run"


class TwoHosts:
    """Two network namespaces, which exist while the context is open. All their processes are killed at its end.

    Args:
        environment: variables of the processes.

    Attributes:
        names: of the namespaces; the first host has rank 0.

    Raises:
        UserError: this is not root, `ip` is missing, or namespaces can't be made.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        if shutil.which("ip") is None:
            raise UserError("ip: not installed; apt-get install iproute2")
        if os.geteuid() != 0:
            raise UserError("network namespaces need root; start this as root")
        self.environment = environment
        self.names = [f"facekp-{os.getpid()}-{number}" for number in (1, 2)]
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> TwoHosts:
        first, second = self.names
        try:
            for name in self.names:
                _ip("netns", "add", name)
            _ip("link", "add", device(1), "netns", first, "type", "veth", "peer", "name", device(2), "netns", second)
            for number, name in enumerate(self.names, 1):
                _ip("-n", name, "address", "add", f"{address(number)}/24", "dev", device(number))
                _ip("-n", name, "link", "set", "lo", "up")
                _ip("-n", name, "link", "set", device(number), "up")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def start(self, folder: Path, *arguments: str) -> list[subprocess.Popen[bytes]]:
        """Start torchrun on both hosts, each with one process of `facekp.train`.

        Args:
            folder: their working directory; the output of host N is appended to hostN.txt.
            arguments: of `facekp.train`.
        """
        started = []
        for number, name in enumerate(self.names, 1):
            environment = {**self.environment, "GLOO_SOCKET_IFNAME": device(number)}
            command = ["ip", "netns", "exec", name, *torchrun(number - 1, *arguments)]
            with (folder / f"host{number}.txt").open("ab") as log:
                process = subprocess.Popen(
                    command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
                )
            started.append(process)
            self._started.append(process)
        return started

    def processes(self, number: int) -> list[int]:
        """Process ids on host 1 or 2."""
        done = subprocess.run(
            ["ip", "netns", "pids", self.names[number - 1]], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in done.stdout.split()]

    def trainings(self, number: int) -> list[int]:
        """Process ids of `facekp.train` on host 1 or 2, without torchrun's own."""
        return [pid for pid in self.processes(number) if TORCHRUN not in (line := _command_line(pid)) and line]

    def _remove(self) -> None:
        until = time.monotonic() + ENDING
        while pids := [pid for number in (1, 2) for pid in self.processes(number)]:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for process in self._started:
                process.poll()
            if time.monotonic() > until:
                break
            time.sleep(0.1)
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def device(number: int) -> str:
    """The network device of host 1 or 2."""
    return f"host{number}"


def address(number: int) -> str:
    """The address of host 1 or 2, which exists in the namespaces only."""
    return f"10.0.0.{number}"


def torchrun(rank: int, *arguments: str) -> Sequence[str]:
    """The command on the host of this rank, as docs/how-to/cluster.md shows it."""
    of_launcher = ["--nnodes=2", "--nproc-per-node=1", f"--node-rank={rank}"]
    place = [f"--master-addr={address(1)}", f"--master-port={PORT}"]
    training = ["-m", "facekp.train", "trainer=multi_node", "trainer.accelerator=cpu", *arguments]
    return [sys.executable, "-m", TORCHRUN, *of_launcher, *place, *training]


def _command_line(pid: int) -> str:
    """Empty where the process has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _ip(*arguments: str) -> None:
    """Run a command of iproute2.

    Raises:
        UserError: the command fails, e.g. because a container may not make namespaces.
    """
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(
            f"ip {' '.join(arguments)}: {done.stderr.strip() or done.returncode}; this needs full root rights"
        )
