"""footprint: resident memory of an idle head and an idle agent (without its zygote), and how long `rtrain status` takes."""
import subprocess
import time

from measure import Cluster, Problem, children, median, percentile, rounded, rss_mib, say


def run(programs, quick):
    with Cluster(programs, warm=False) as cluster:
        time.sleep(1 if quick else 5)
        head, agent = rss_mib(cluster.head.pid), rss_mib(cluster.agent.pid)
        supervisors = {name: rss_mib(pid) for pid, name in children(cluster.agent.pid)}
        say(f"idle: head {head:.1f} MiB, agent {agent:.1f} MiB, " + ", ".join(f"{name} {mib:.1f} MiB" for name, mib in supervisors.items()))
        times = []
        command = [programs.rtrain, "status", "--head", cluster.api]
        for _ in range(5 if quick else 50):
            begin = time.perf_counter()
            answer = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=programs.environment)
            times.append((time.perf_counter() - begin) * 1000)
            if answer.returncode != 0:
                raise Problem(f"rtrain status ended with {answer.returncode}: {answer.stderr.decode().strip()}")
    return {"head_mib": rounded(head, 1), "agent_mib": rounded(agent, 1), "status_ms": rounded(median(times), 2), "status_p90_ms": rounded(percentile(times, 0.9), 2),
            "zygote_mib": rounded(supervisors.get("rtrain-worker"), 1), "keeper_mib": rounded(supervisors.get("rtrain-keeper"), 1)}
