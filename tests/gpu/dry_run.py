"""The bundle's `gpu --dry-run`: every step that a GPU machine would do, on the CPU. usage: dry_run.py SOURCE PYTHON

A mistake that this finds is not found in minutes that a GPU costs.
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE, PYTHON = sys.argv[1:3]
# What a machine may lack; everything else must run.
MAY_BE_SKIPPED = {"check", "memory_free"}
MAY_BE_MISSING = {"lightning"}


def main():
    with tempfile.TemporaryDirectory(prefix="rtrain-dry-run-") as folder:
        bundle, output = Path(folder) / "bundle", Path(folder) / "results.jsonl"
        subprocess.run([f"{SOURCE}/scripts/bundle", "--no-build", "--output", str(bundle)], check=True, timeout=120)
        # Its own home: the first head writes its token there.
        environment = {**os.environ, "PATH": f"{Path(PYTHON).parent}:{os.environ['PATH']}", "HOME": folder}
        for name in [name for name in environment if name.startswith("RTRAIN_")]:
            del environment[name]
        done = subprocess.run([str(bundle / "gpu"), "--dry-run", "--output", str(output)], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=360)
        print(done.stdout, done.stderr, sep="\n")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert output.read_text() == done.stdout
    steps = {line["step"]: line for line in lines}
    assert lines[0]["step"] == "versions" and lines[0]["rtrain"]["rtrain_commit"] and lines[0]["packages"]["torch"], lines[0]
    assert lines[-1]["step"] == "summary" and len(steps) == len(lines) == 16, [line["step"] for line in lines]
    for name, line in steps.items():
        assert line["kind"] in ("test", "benchmark", "about") and line["seconds"] >= 0, line
        if line["status"] == "skipped":
            assert name in MAY_BE_SKIPPED and line["detail"], line
        else:
            assert line["status"] == "ok", line
        assert "left_behind" not in line, line
        for part in (line, *(value for value in line.values() if isinstance(value, dict))):
            for peer, why in part.get("missing", {}).items():
                assert peer in MAY_BE_MISSING and why, line
    assert done.returncode == 0, done.returncode


if __name__ == "__main__":
    main()
