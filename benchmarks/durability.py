"""durability: 50 jobs are acknowledged, the controller is killed with SIGKILL 0, 1, 3 and 6 s after the last one, and started again.

`lost` counts acknowledged jobs that are not there any more, `ids_reused` how many of the next ids had been given to another job. The same for Slurm
(benchmarks/peers/install slurm), side by side. A job that fills the node is submitted first, so that the 50 wait.
"""
import concurrent.futures
import json
import time

from measure import Cluster, Problem, say
from peers import slurm

JOBS, DELAYS_S = 50, (0, 1, 3, 6)


class Rtrain:
    """One head and one agent."""

    def __init__(self, programs):
        self.cluster = Cluster(programs)

    def __enter__(self):
        self.cluster.__enter__()
        self.number = 0
        return self

    def __exit__(self, *_):
        self.cluster.__exit__()

    def submit(self, name, script):
        path = self.cluster.folder / f"{name}.json"
        path.write_text(json.dumps({"name": name, "command": ["sh", "-c", script], "scaling_config": {"num_workers": 1},
                                    "run_config": {"storage_path": str(self.cluster.folder / "results")}}))
        answer = self.cluster.rtrain("submit", "--detach", "-o", "name", str(path), check=False)
        return int(answer.stdout) if answer.returncode == 0 else None

    def jobs(self):
        return {job["name"]: int(job["id"]) for job in json.loads(self.cluster.rtrain("list", "-o", "json").stdout)["jobs"]}

    def kill_controller(self):
        self.cluster.kill_head()

    def start_controller(self):
        self.cluster.start_head()


def one_round(controller, delay_s):
    """{lost, ids_reused} of one kill. `controller` is fresh."""
    controller.submit("holds-the-node", "sleep 600")
    names = [f"job-{number}" for number in range(JOBS)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        acknowledged = {name: id for name, id in zip(names, pool.map(lambda name: controller.submit(name, "true"), names)) if id is not None}
    if len(acknowledged) != JOBS:
        raise Problem(f"only {len(acknowledged)} of {JOBS} submits were acknowledged")
    time.sleep(delay_s)
    controller.kill_controller()
    controller.start_controller()
    known = controller.jobs()
    lost = [name for name in acknowledged if known.get(name) != acknowledged[name]]
    later = [controller.submit(f"later-{number}", "true") for number in range(5)]
    return {"lost": len(lost), "ids_reused": len(set(later) & set(acknowledged.values()))}


def run(programs, quick):
    figures = {"jobs": JOBS}
    why_not = slurm.missing()
    if why_not:
        say(f"slurm: {why_not}")
    for name, make in (("rtrain", lambda: Rtrain(programs)), ("slurm", slurm.Slurm)):
        if name == "slurm" and why_not:
            figures[name] = None
            continue
        figures[name] = {}
        for delay_s in DELAYS_S[:1] if quick else DELAYS_S:
            with make() as controller:
                figures[name][f"after_{delay_s}_s"] = one_round(controller, delay_s)
            say(f"{name}: killed after {delay_s} s: {figures[name][f'after_{delay_s}_s']}")
    return figures
