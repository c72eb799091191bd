"""What a pass of the planner costs with 10,000 nodes of 8 GPUs and 100,000 waiting jobs of mixed sizes."""
import json
import subprocess

from measure import Problem, median, rounded, say


def run(programs, quick):
    """{full_s, incremental_ms, incremental_p99_ms, nodes, waiting}: a planner built and asked; a pass after one job has ended."""
    size = ["1000", "5000"] if quick else ["10000", "100000"]
    figures = []
    for _ in range(1 if quick else 3):
        answer = subprocess.run([programs.program("rtrain-sched-bench"), *size], capture_output=True, text=True, timeout=600, env=programs.environment)
        if answer.returncode != 0:
            raise Problem(f"rtrain-sched-bench ended with {answer.returncode}: {answer.stderr.strip()[-500:]}")
        figures.append(json.loads(answer.stdout))
        say(f"full {figures[-1]['full_s']:.2f} s, after one end {figures[-1]['incremental_ms']:.2f} ms (p99 {figures[-1]['incremental_p99_ms']:.2f} ms)")
    return {"full_s": rounded(median([f["full_s"] for f in figures]), 3), "incremental_ms": rounded(median([f["incremental_ms"] for f in figures]), 3),
            "incremental_p99_ms": rounded(median([f["incremental_p99_ms"] for f in figures]), 3), "nodes": figures[0]["nodes"], "waiting": figures[0]["waiting"]}
