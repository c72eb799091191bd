"""Runs the tests of the rows of cases.md, found by the rows' numbers.

reports_test.py SOURCE_DIR BUILD_DIR torch|notorch [ID...]

RTRAIN_TEST_EVERYTHING=1, as in a run of all tests: a program that is a test of its own has run, or will; that it holds the
row's test is checked all the same."""
import collections, concurrent.futures, os, re, subprocess, sys
from pathlib import Path

TIMEOUT_S = 300  # of one program, with all of its cases
SKIP = 77
NEEDS_TORCH = "needs LibTorch"
HEADER = ["id", "source", "symptom", "expected", "test"]
ID = r"[FR]\d{2,}"
THREAD = r"[\w.-]+/[\w.-]+#\d+"
TAG = re.compile(r"\[(%s)\]" % ID)             # of a Catch2 test
METHOD = re.compile(r"def test_(%s)_" % ID)    # of a unittest


class Broken(Exception):
    """The table, or a test that it should name, is wrong: one problem a line."""


def read_rows(text):
    """{id: programs} of a table. Cells may hold an escaped bar. @raise Broken with every problem."""
    rows, problems, in_table = {}, [], False
    for number, line in enumerate(text.splitlines(), 1):
        place = f"cases.md:{number}"
        if not line.startswith("|"):
            if in_table and line.strip():
                problems.append(f"{place}: a line that is no row stands behind the table: {line[:60]}")
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())]
        cells = cells[1:-1] if cells[-1] == "" else cells[1:]
        if not in_table:
            if cells != HEADER:
                problems.append(f"{place}: the columns are {cells}, expected {HEADER}")
            in_table = True
        elif set("".join(cells)) <= set("-: "):
            continue
        elif len(cells) != len(HEADER) or not all(cells):
            problems.append(f"{place}: {len(HEADER)} cells, none of them empty, expected; "
                            "a bar inside a cell is written \\|")
        elif not re.fullmatch(ID, cells[0]):
            problems.append(f"{place}: '{cells[0]}' is no number of a case: F or R and two digits, as F07")
        elif cells[0] in rows:
            problems.append(f"{place}: {cells[0]} stands in the table twice")
        elif cells[0].startswith("R") and not re.fullmatch(f"{THREAD}(, {THREAD})*", cells[1]):
            problems.append(f"{place}: the source of {cells[0]} is '{cells[1]}', "
                            "expected the thread as owner/repository#number")
        else:
            rows[cells[0]] = cells[4].replace("`", "").replace(",", " ").split()
    if not in_table:
        problems.append("cases.md: there is no table")
    if problems:
        raise Broken("\n".join(problems))
    return rows


def tests_without_row(source, rows):
    """A test that nobody runs by its number: its row was forgotten, or the number mistyped."""
    problems = []
    for path in sorted((source / "tests").rglob("*")):
        if path.suffix not in (".cpp", ".py") or path.name == "reports_test.py":
            continue
        text = path.read_text(errors="replace")
        for id in sorted(set((TAG if path.suffix == ".cpp" else METHOD).findall(text)) - set(rows)):
            problems.append(f"{path.relative_to(source)} holds a test of {id}, cases.md has no such row")
    return problems


class Program:
    """One program of the table with the cases that it holds."""

    def __init__(self, name, source, build, torch):
        self.name, self.build = name, build
        self.is_script = name.endswith(".py")
        scripts = [source / "tests" / folder for folder in ("reports", "integration", "docs")]
        folders = scripts if self.is_script else [build / "tests"]
        self.is_only_here = self.is_script and (source / "tests/reports" / name).is_file()
        self.path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        self.absent = None if self.path else f"there is no program {name}"
        # Some programs of the worker are built without LibTorch all the same, none of its scripts runs.
        if not torch and name.startswith(("worker_", "ddp_")) and (self.is_script or not self.path):
            self.absent = NEEDS_TORCH

    def holds(self):
        """The numbers of its tests."""
        if self.is_script:
            return set(METHOD.findall(self.path.read_text()))
        line = [str(self.path), "--list-tags"]
        done = subprocess.run(line, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S)
        return set(TAG.findall(done.stdout))

    def command(self, ids):
        if self.is_script:
            selected = [word for id in ids for word in ("-k", f"_{id}_")]
            return [sys.executable, "-B", str(self.path), str(self.build / "bin"), *selected]
        return [str(self.path), ",".join(f"[{id}]" for id in ids)]

    def run(self, ids):
        """(verdict, output) of these cases together."""
        line = self.command(ids)
        try:
            done = subprocess.run(line, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S,
                                  env={**os.environ, "RTRAIN_BIN_DIR": str(self.build / "bin")})
        except subprocess.TimeoutExpired as error:
            parts = [part if isinstance(part, str) else (part or b"").decode(errors="replace")
                     for part in (error.stdout, error.stderr)]
            return "failed", f"not done within {TIMEOUT_S} s: {' '.join(line)}\n{''.join(parts)}"
        output = " ".join(line) + "\n" + done.stdout + done.stderr
        if done.returncode == SKIP:
            return "skipped", output
        if done.returncode != 0:
            return "failed", output
        ran = re.search(r"^Ran (\d+) tests?", output, re.M)
        skipped = re.search(r"^OK \(.*?skipped=(\d+)", output, re.M)
        if ran and skipped:
            return ("skipped" if ran[1] == skipped[1] else "passed"), output
        return "passed", output

    def verdicts(self, ids):
        """[(id, verdict, output)]: together first; where one fails or is skipped, each case alone."""
        if self.absent:
            verdict = "skipped" if self.absent == NEEDS_TORCH else "failed"
            return [(id, verdict, self.absent) for id in ids]
        held = self.holds()
        here = [id for id in ids if id in held]
        missing = [(id, "failed", f"{self.name} holds no test of {id}") for id in ids if id not in held]
        if not here:
            return missing
        if os.environ.get("RTRAIN_TEST_EVERYTHING") and not self.is_only_here:
            return missing + [(id, "left to its own test", "") for id in here]
        verdict, output = self.run(here)
        if len(here) > 1 and (verdict == "failed" or "skipped=" in output):
            return missing + [(id, *self.run([id])) for id in here]
        return missing + [(id, verdict, output) for id in here]


def main(source, build, torch, wanted):
    try:
        rows = read_rows((source / "tests/reports/cases.md").read_text())
        unknown = sorted(set(wanted) - set(rows))
        problems = [f"cases.md has no row {id}" for id in unknown]
        if not wanted:
            problems = tests_without_row(source, rows)
        if problems:
            raise Broken("\n".join(problems))
    except Broken as problem:
        print(problem)
        return 1
    cases = collections.defaultdict(list)
    for id, names in rows.items():
        for name in names if not wanted or id in wanted else ():
            cases[name].append(id)
    programs = [Program(name, source, build, torch) for name in cases]
    counts = {"passed": 0, "left to its own test": 0, "failed": 0, "skipped": 0}
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for program, verdicts in zip(programs, pool.map(lambda one: one.verdicts(cases[one.name]), programs)):
            for id, verdict, output in sorted(verdicts):
                counts[verdict] += 1
                more = "" if not output or verdict == "passed" else "\n" + output
                print(f"{verdict} {id} {program.name}{more}", flush=True)
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return 1 if counts["failed"] or not (counts["passed"] or counts["left to its own test"]) else 0


if __name__ == "__main__":
    given_source, given_build = (Path(argument).resolve() for argument in sys.argv[1:3])
    sys.exit(main(given_source, given_build, sys.argv[3] == "torch", sys.argv[4:]))
