"""Debian's Slurm on this machine, one node: controller, node daemon and munge on ports and folders of their own. Needs root.

benchmarks/peers/install slurm puts it there.
"""
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "sinfo")


def missing():
    """What keeps Slurm from running here, or ""."""
    for program in PROGRAMS:
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is None:
            return f"{program} is not installed; benchmarks/peers/install slurm"
    return "" if os.getuid() == 0 else "Slurm's daemons are started as root here"


class Slurm:
    """Use with `with`. One node of `cpus` CPUs (declared, not measured)."""

    def __init__(self, cpus=2):
        self.cpus = cpus

    def __enter__(self):
        self.root = Path(tempfile.mkdtemp(prefix="rtrain-slurm-"))
        os.chmod(self.root, 0o755)
        host = socket.gethostname().split(".")[0]
        key, munge = self.root / "munge.key", self.root / "munge"
        owner = pwd.getpwnam("munge")
        munge.mkdir()
        key.write_bytes(os.urandom(1024))
        os.chmod(key, 0o400)
        for path in (key, munge):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        os.chmod(munge, 0o755)
        self.configuration = self.root / "slurm.conf"
        for folder in ("state", "spool"):
            (self.root / folder).mkdir()
        self.configuration.write_text(f"""ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={munge}/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SlurmctldPort=46817
SlurmdPort=46818
StateSaveLocation={self.root}/state
SlurmdSpoolDir={self.root}/spool
SlurmctldPidFile={self.root}/slurmctld.pid
SlurmdPidFile={self.root}/slurmd.pid
SlurmctldLogFile={self.root}/slurmctld.log
SlurmdLogFile={self.root}/slurmd.log
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={self.cpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
""")
        self.environment = {**os.environ, "SLURM_CONF": str(self.configuration), "PATH": os.environ["PATH"] + ":/usr/sbin"}
        self.munged = subprocess.Popen(["munged", "--foreground", f"--key-file={key}", f"--socket={munge}/socket", f"--pid-file={munge}/pid",
                                        f"--log-file={munge}/log", f"--seed-file={munge}/seed"], user="munge", group="munge",
                                       env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._until(lambda: (munge / "socket").exists(), "munged's socket")
            self.start_controller()
            self.slurmd = subprocess.Popen(["slurmd", "-D", "-N", host], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self._until(lambda: "idle" in self.run("sinfo", "-h", "-o", "%T").stdout, "an idle node", 30)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in ("slurmd", "controller", "munged"):
            process = getattr(self, name, None)
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()
        # slurmstepd of jobs that still run leave their daemon: they are told apart by the configuration in their environment.
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"SLURM_CONF={self.configuration}".encode() in (entry / "environ").read_bytes() and int(entry.name) != os.getpid():
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                pass
        shutil.rmtree(self.root, ignore_errors=True)

    def start_controller(self):
        self.controller = subprocess.Popen(["slurmctld", "-D"], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._until(lambda: self.run("scontrol", "ping").stdout.find("is UP") >= 0, "slurmctld", 30)

    def kill_controller(self):
        self.controller.send_signal(signal.SIGKILL)
        self.controller.wait()

    def run(self, *command):
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)

    def submit(self, name, script):
        """The id that sbatch acknowledged, or None."""
        answer = self.run("sbatch", "--parsable", "-n", "1", "-o", "/dev/null", "-J", name, "--wrap", script)
        return int(answer.stdout.split(";")[0]) if answer.returncode == 0 else None

    def jobs(self):
        """{name: id} of what the controller knows."""
        return {line.split()[1]: int(line.split()[0]) for line in self.run("squeue", "-h", "-a", "-t", "all", "-o", "%i %j").stdout.splitlines()}

    @staticmethod
    def _until(holds, what, limit_s=15):
        deadline = time.monotonic() + limit_s
        while not holds():
            if time.monotonic() > deadline:
                raise RuntimeError(f"no {what} within {limit_s} s")
            time.sleep(0.05)
