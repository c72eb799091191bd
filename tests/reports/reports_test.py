"""Runs the test of every row of cases.md, found by the row's number. reports_test.py SOURCE_DIR BUILD_DIR torch|notorch [ID...]"""
import concurrent.futures, os, re, subprocess, sys
from pathlib import Path

SOURCE, BUILD, TORCH = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), sys.argv[3] == "torch"
WANTED = set(sys.argv[4:])
TIMEOUT_S = 300
SKIP = 77


def rows():
    """(id, programs) of each line of the table. Cells may hold an escaped bar."""
    found = []
    for number, line in enumerate((SOURCE / "tests/reports/cases.md").read_text().splitlines(), 1):
        if not re.match(r"\| [FR]\d+ ", line):
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        assert len(cells) == 5 and all(cells), f"cases.md:{number}: five cells, none of them empty, expected"
        found.append((cells[0], cells[4].replace("`", "").split()))
    ids = [row[0] for row in found]
    twice = {id for id in ids if ids.count(id) > 1}
    assert found and not twice, f"cases.md: numbers that stand twice: {sorted(twice)}"
    return found


def command(id, program):
    if program.endswith(".py"):
        folders = (SOURCE / "tests/reports", SOURCE / "tests/integration", SOURCE / "tests/docs")
        script = next((folder / program for folder in folders if (folder / program).exists()), None)
        return script and [sys.executable, "-B", str(script), str(BUILD / "bin"), "-k", f"_{id}_"]
    path = BUILD / "tests" / program
    return path.exists() and [str(path), f"[{id}]"]


def run(id, program):
    """(verdict, output): passed, skipped or failed."""
    line = command(id, program)
    if not line:
        needs_torch = program.startswith(("worker_", "ddp_"))
        return ("skipped", "needs LibTorch") if needs_torch and not TORCH else ("failed", f"there is no program {program}")
    try:
        done = subprocess.run(line, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, env={**os.environ, "RTRAIN_BIN_DIR": str(BUILD / "bin")})
    except subprocess.TimeoutExpired as error:
        return "failed", f"not done within {TIMEOUT_S} s: {' '.join(line)}\n{error.stdout or ''}{error.stderr or ''}"
    output = done.stdout + done.stderr
    if done.returncode == SKIP:
        return "skipped", output
    if re.search(r"Ran 0 tests|No test cases matched|No tests ran|test cases: 0", output):
        return "failed", f"{program} holds no test of {id}\n{output}"
    return ("passed" if done.returncode == 0 else "failed"), " ".join(line) + "\n" + output


def main():
    todo = [(id, program) for id, programs in rows() if not WANTED or id in WANTED for program in programs]
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for (id, program), (verdict, output) in zip(todo, pool.map(lambda one: run(*one), todo)):
            counts[verdict] += 1
            print(f"{verdict} {id} {program}" + ("" if verdict == "passed" else "\n" + output), flush=True)
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
