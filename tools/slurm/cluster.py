"""Starts SLURM with this machine as its only node, in a folder of its own, and ends it again.

It needs Debian's packages slurm-wlm and munge, and root, as `slurmd` does. Nothing outside the folder is changed: the
configuration, munge's key and socket, logs and states all lie there.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType

from tools.checks import wait_until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "srun")
PACKAGES = "apt-get install slurm-wlm munge"
MUNGE_FILES = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}  # endings by option
STARTING = 60.0  # seconds that the daemons may take
CONFIG = """\
ClusterName=facekp
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmctldPort={controller}
SlurmdPort={daemon}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,batch_sched_delay=0,requeue_delay=1
MinJobAge=300
KillWait=30
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """A SLURM that runs while the context is open.

    Args:
        folder: an empty folder; its path must be short, as that of a socket.

    Attributes:
        environment: variables with which SLURM's commands reach it.

    Raises:
        SystemExit: a program is missing, or the daemons do not answer.
    """

    def __init__(self, folder: Path) -> None:
        if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
            raise SystemExit(f"{', '.join(missing)}: not installed; {PACKAGES}")
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Cluster:
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        self.folder.chmod(0o755)
        ports = dict(zip(("controller", "daemon"), _free_ports(2), strict=True))
        host, cores = socket.gethostname().partition(".")[0], os.cpu_count()
        text = CONFIG.format(host=host, folder=self.folder, cores=cores, **ports)
        (self.folder / "slurm.conf").write_text(text)
        munge = [f"--{name}={self.folder}/munge.{end}" for name, end in MUNGE_FILES.items()]
        try:
            self._start("munged", "--foreground", "--force", f"--key-file={key}", *munge)
            wait_until(lambda: (self.folder / "munge.socket").exists(), STARTING, "munged does not start")
            self._start("slurmctld", "-D")
            self._start("slurmd", "-D", "-N", host)
            wait_until(lambda: "idle" in self.run("sinfo", "-h", "-o", "%T"), STARTING, f"see {self.folder}/*.log")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def run(self, *command: str) -> str:
        """The output of a command of SLURM; empty where it fails."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=60)
        return done.stdout.strip()

    def submit(self, script: Path, *options: str) -> str:
        """Submit a batch script, and return the number of its job."""
        return self.run("sbatch", "--parsable", *options, str(script))

    def jobs(self) -> list[str]:
        """Numbers of the jobs that wait or run."""
        return self.run("squeue", "-h", "-o", "%i").split()

    def wait_for_all(self, seconds: float) -> None:
        """Until no job waits or runs."""
        wait_until(lambda: not self.jobs(), seconds, "jobs still run")

    def _start(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.out").open("wb") as out:
            self._daemons.append(subprocess.Popen(command, env=self.environment, stdout=out, stderr=out))

    def _stop(self) -> None:
        for job in self.jobs() if self._daemons else []:
            self.run("scancel", job)
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
