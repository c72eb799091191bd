"""throughput: what one head does in a second.

`jobs_per_s`: no-op jobs from the first submit to the last end, over 1,000 simulated agents on real sockets (benchmarks/agent_swarm.cpp); an
end counts when the head has confirmed to the agent that it is stored. `reports_per_s`: metric reports of 100 agents, stored likewise.
`agents_mib`: the head's memory with 10,000 idle agents that send heartbeats. `real_jobs_per_s`: `true` as a job, on one real agent with
2 CPUs, from the first submit to the last end.
"""
import http.client
import json
import resource
import subprocess
import time

from measure import Cluster, Problem, rounded, rss_mib, say


class Head(Cluster):
    """A head alone, that takes many agents."""

    def __init__(self, programs):
        super().__init__(programs, ("--connections-max", "12000", "--queue-max", "1000000", "--log-level", "warn"))

    def _start(self):
        self._start_first_head()
        self._until_head_answers()


def swarm(programs, cluster, *arguments):
    command = [str(programs.build / "bin" / "agent_swarm"), arguments[0], cluster.cluster, cluster.api, *map(str, arguments[1:])]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=600)
    if answer.returncode != 0:
        raise Problem("agent_swarm failed; the head says: " + (cluster.folder / "head.log").read_text(errors="replace")[-500:])
    return json.loads(answer.stdout.splitlines()[-1])


def idle_agents_mib(programs, agents):
    with Head(programs) as cluster:
        command = [str(programs.build / "bin" / "agent_swarm"), "idle", cluster.cluster, cluster.api, str(agents), "600"]
        holders = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            if not holders.stdout.readline():
                raise Problem("agent_swarm failed")
            time.sleep(5)  # two heartbeats of each
            alive = sum(node["alive"] for node in json.loads(cluster.rtrain("nodes", "-o", "json").stdout)["nodes"])
            if alive != agents:
                raise Problem(f"{alive} of {agents} agents are connected")
            return rss_mib(cluster.head.pid)
        finally:
            holders.kill()
            holders.wait()


def real_jobs(programs, jobs):
    with Cluster(programs, ("--log-level", "warn"), ("--resources", json.dumps({"CPU": 2}), "--prestart-zygote", "false", "--log-level", "warn")) as cluster:
        spec = json.dumps({"name": "true", "command": ["true"], "working_dir": "/tmp", "scaling_config": {"num_workers": 1, "resources_per_worker": {"CPU": 1}},
                           "run_config": {"storage_path": str(cluster.folder / "results")}})
        connection, headers = http.client.HTTPConnection(cluster.api, timeout=120), cluster.headers()
        begun = time.perf_counter()
        for _ in range(jobs):
            connection.request("POST", "/v1/jobs", spec, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 201:
                raise Problem(f"a submit was answered with {answer.status}")
        while True:
            connection.request("GET", f"/v1/jobs/{jobs}", headers=headers)
            if json.loads(connection.getresponse().read())["ended_at"] is not None:
                break
            time.sleep(0.002)
        left = {"unknown"}
        while left:  # two run at once: the last one may end before the last but one
            connection.request("GET", f"/v1/jobs?limit={min(jobs, 10)}", headers=headers)
            left = {job["state"] for job in json.loads(connection.getresponse().read())["jobs"]} - {"SUCCEEDED"}
            if left & {"FAILED", "CANCELLED"}:
                raise Problem(f"jobs ended as {left}")
        return jobs / (time.perf_counter() - begun)


def run(programs, quick):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    agents = 1000 if hard < 12000 else 10000
    with Head(programs) as cluster:
        jobs = swarm(programs, cluster, "jobs", 100 if quick else 1000, 500 if quick else 20000)
        say(f"jobs: {jobs}")
    with Head(programs) as cluster:
        reports = swarm(programs, cluster, "reports", 10 if quick else 100, 1000 if quick else 5000)
        say(f"reports: {reports}")
    memory = idle_agents_mib(programs, 100 if quick else agents)
    say(f"idle agents: {memory:.0f} MiB")
    real = real_jobs(programs, 20 if quick else 1000)
    return {"jobs_per_s": jobs["jobs_per_s"], "reports_per_s": reports["reports_per_s"], "agents_mib": rounded(memory, 0), "real_jobs_per_s": rounded(real, 1),
            "idle_agents": 100 if quick else agents}
