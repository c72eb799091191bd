"""footprint: resident memory of an idle head and an idle agent (without its zygote), and how long `rtrain status` takes."""
import subprocess
import time

from measure import Cluster, Problem, median, percentile, rounded, rss_mib, say, supervisors


def run(programs, quick):
    with Cluster(programs) as cluster:
        time.sleep(1 if quick else 5)
        head, agent = rss_mib(cluster.head.pid), rss_mib(cluster.agent.pid)
        others = {name: rss_mib(pid) for pid, name in supervisors(cluster.folder)}
        say(", ".join(f"{name} {mib:.1f} MiB" for name, mib in {"idle: head": head, "agent": agent, **others}.items()))
        times = []
        command = [programs.rtrain, "status", "--head", cluster.api]
        for _ in range(5 if quick else 50):
            begin = time.perf_counter()
            answer = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=programs.environment)
            times.append((time.perf_counter() - begin) * 1000)
            if answer.returncode != 0:
                raise Problem(f"rtrain status ended with {answer.returncode}: {answer.stderr.decode().strip()}")
    return {"head_mib": rounded(head, 1), "agent_mib": rounded(agent, 1), "status_ms": rounded(median(times), 2), "status_p90_ms": rounded(percentile(times, 0.9), 2),
            "zygote_mib": rounded(others.get("rtrain-worker"), 1), "keeper_mib": rounded(others.get("rtrain-keeper"), 1)}
