"""The docs: links lead somewhere, JSON is valid, tables are complete, and what is marked `run` runs.

docs_test.py SOURCE_DIR BUILD_DIR torch|notorch

Marks in the info string of a code block: `json job` (must pass `rtrain validate`), `json head`, `json agent` (settings),
`cpp libtorch` (all of a page in one program; `run=NAME`: that training function, or main, is called),
`file=NAME` (is there when the page's commands run), `sh run` (is run: all of a page in one shell, in a folder that looks like
the checkout), `torch` (only with LibTorch), `cluster` on a page's first command (a head and an agent are there already).
"""
import ast
import concurrent.futures
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE, BUILD, TORCH = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), sys.argv[3] == "torch"
PAGES = sorted([SOURCE / "README.md", SOURCE / "CONTRIBUTING.md", SOURCE / "SECURITY.md", *SOURCE.glob("docs/**/*.md"), *SOURCE.glob("examples/**/*.md")])
CLUSTER = """rtraind head --state-dir ~/rtrain/head & head=$!
rtraind agent --state-dir ~/rtrain/agent & agent=$!
until rtrain nodes -o name 2>/dev/null | grep -q .; do sleep 0.1; done
"""


class Block:
    def __init__(self, page, line, info, text):
        words = info.split()
        self.page, self.line, self.text = page, line, text
        self.language, self.marks = (words[0] if words else ""), words[1:]
        self.run = next((mark[4:] for mark in self.marks if mark.startswith("run=")), None)
        self.file = next((mark[5:] for mark in self.marks if mark.startswith("file=")), None)

    def __str__(self):
        return f"{self.page.relative_to(SOURCE)}:{self.line}"


def blocks(page):
    out, info, lines, start = [], None, [], 0
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            if info is None:
                info, lines, start = line.strip()[3:], [], number
            else:
                out.append(Block(page, start, info, "\n".join(lines) + "\n"))
                info = None
        elif info is not None:
            lines.append(line)
    assert info is None, f"{page}: a code block does not end"
    return out


ALL = [block for page in PAGES for block in blocks(page)]


def prose(page):
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)


def anchors(page):
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ +(.*)$", prose(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).strip().replace(" ", "-") for heading in headings}


def rtrain(*arguments, **more):
    return subprocess.run([str(BUILD / "bin" / "rtrain"), *arguments], capture_output=True, text=True, timeout=20, **more)


def table_rows(page):
    """First cells, without back-quotes, of the page's tables, with the other cells."""
    rows = {}
    for line in prose(page).splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            rows.setdefault(cells[0], cells[1:])
    return rows


class Text(unittest.TestCase):
    def test_links_lead_somewhere(self):
        for page in PAGES:
            for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
                if re.match(r"https?:", target):
                    continue
                path, _, anchor = target.partition("#")
                file = (page.parent / path).resolve() if path else page
                with self.subTest(page=str(page.relative_to(SOURCE)), link=target):
                    self.assertTrue(file.exists(), "no such file")
                    if anchor:
                        self.assertIn(anchor, anchors(file), "no such heading")

    def test_index_names_every_page(self):
        index = (SOURCE / "docs/README.md").read_text()
        for page in SOURCE.glob("docs/**/*.md"):
            name = page.relative_to(SOURCE / "docs").as_posix()
            if name != "README.md":
                self.assertIn(f"({name})", index)

    def test_json_is_valid(self):
        for block in ALL:
            if block.language == "json":
                with self.subTest(block=str(block)):
                    json.loads(block.text)

    def test_jobs_are_valid(self):
        jobs = [(str(block), block.text) for block in ALL if block.language == "json" and "job" in block.marks]
        jobs += [(str(file.relative_to(SOURCE)), file.read_text()) for file in SOURCE.glob("configs/jobs/*.json")]
        self.assertGreater(len(jobs), 5)
        for name, text in jobs:
            with self.subTest(job=name):
                answer = rtrain("validate", "-", input=text)
                self.assertEqual(answer.returncode, 0, answer.stderr)

    def test_settings_are_known(self):
        for block in ALL:
            for role in ("head", "agent"):
                if block.language == "json" and role in block.marks:
                    known = json.loads((SOURCE / f"configs/{role}.json").read_text())
                    for key, value in json.loads(block.text).items():
                        with self.subTest(block=str(block), key=key):
                            self.assertIn(key, known)
                            self.assertIs(type(value), type(known[key]))

    def test_shell_and_python_parse(self):
        for block in ALL:
            with self.subTest(block=str(block)):
                if block.language == "sh":
                    checked = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
                    self.assertEqual(checked.returncode, 0, checked.stderr)
                if block.language == "python":
                    ast.parse(block.text)


class Tables(unittest.TestCase):
    def test_settings_page_has_every_field_with_its_default(self):
        page = SOURCE / "docs/reference/config.md"
        text = page.read_text()
        for role, begin, end in (("head", "## Head", "## Agent"), ("agent", "## Agent", "The CLI has settings")):
            part = text[text.index(begin):text.index(end)]
            rows = dict(re.findall(r"^\| `(\w+)` \| `--[\w-]+` \| ([^|]*) \|", part, flags=re.M))
            defaults = json.loads((SOURCE / f"configs/{role}.json").read_text())
            self.assertEqual(set(rows), set(defaults))
            for name, value in defaults.items():
                if value not in ("", {}):
                    shown = rows[name].strip("` ")
                    self.assertEqual(shown, value if isinstance(value, str) else json.dumps(value), f"{role}: default of {name}")

    def test_errors_page_has_every_code_and_kind(self):
        rows = table_rows(SOURCE / "docs/reference/errors.md")
        for name in re.findall(r"^  (k[A-Z]\w+),", (SOURCE / "common/base/result.h").read_text(), flags=re.M):
            code = re.sub(r"(?<!^)([A-Z])", r"_\1", name[1:]).lower()
            self.assertIn(f"`{code}`", rows)
            self.assertEqual(rows[f"`{code}`"][0], f"`{name}`")
        kinds = re.search(r"std::string kind;\s*///< ([\w |]+)", (SOURCE / "proto/message/types.h").read_text())[1]
        for kind in kinds.split(" | "):
            self.assertIn(f"`{kind.strip()}`", rows)

    def test_jobspec_page_has_every_key(self):
        text = (SOURCE / "docs/reference/jobspec.md").read_text()

        def check(section, keys):
            rows = set(re.findall(r"^\| `([^`]+)` \|", text.split(f"\n## {section}\n")[1].split("\n## ")[0], flags=re.M))
            self.assertLessEqual(set(keys), rows, section)

        def paths(properties):
            for name, schema in properties.items():
                inner = schema.get("properties", {}) if name != "resources_per_worker" else {}
                yield from (f"{name}.{path}" for path in paths(inner)) if inner else [name]

        schema = json.loads((SOURCE / "proto/jobspec/job.schema.json").read_text())["properties"]
        check("Top level", schema)
        for name, inner in schema.items():
            if inner.get("properties"):
                check(name, paths(inner["properties"]))
        check("scaling_config", schema["scaling_config"]["properties"]["resources_per_worker"]["properties"])

    def test_api_page_has_every_route(self):
        described = json.loads((SOURCE / "proto/api/openapi.json").read_text())["paths"]
        routes = {f"`{method.upper()} {path}`" for path, methods in described.items() for method in methods if method in ("get", "post", "delete", "put")}
        documented = {row for row in table_rows(SOURCE / "docs/reference/api.md") if re.match(r"`(GET|POST|PUT|DELETE) ", row)}
        self.assertEqual(documented, routes)


class Code(unittest.TestCase):
    """The C++ blocks of a page are one program: its training functions run in this process, without a cluster."""

    @unittest.skipUnless(TORCH, "needs LibTorch")
    def test_code_compiles_and_runs(self):
        sys.path.insert(0, str(SOURCE / "tests/integration"))
        from compiler import jobs, link_program
        pages = {}
        for page in PAGES:
            shown = [block for block in blocks(page) if block.language == "cpp" and "libtorch" in block.marks]
            if shown:
                pages[page] = shown
        with tempfile.TemporaryDirectory(prefix="rtrain-docs-") as all_folders, concurrent.futures.ThreadPoolExecutor(jobs()) as pool:
            folders = {page: f"{all_folders}/{number}" for number, page in enumerate(pages)}
            for folder in folders.values():
                os.mkdir(folder)
            # The compilers take all of the time.
            linked = {page: pool.submit(link_program, str(BUILD), self.program(shown), folders[page]) for page, shown in pages.items()}
            for page, shown in pages.items():
                self.check_page(page, shown, folders[page], linked[page])

    def check_page(self, page, shown, folder, linked):
        with self.subTest(page=page.name):
            built, diagnostics = linked.result()
            self.assertEqual(built, 0, diagnostics)
            done = subprocess.run([folder + "/program"], cwd=folder, env={"HOME": folder, "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
                                  capture_output=True, text=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            ran = [block.run for block in shown if block.run]
            self.assertEqual(re.findall(r"^ran (\w+)$", done.stdout, flags=re.M), ran, done.stdout + done.stderr)
            self.assertNotIn("never read", done.stderr)

    @staticmethod
    def program(shown):
        """A block that includes something includes it for all."""
        includes, body, calls = ["#include <rtrain/rtrain.h>"], [], []
        for block in shown:
            lines = block.text.splitlines()
            includes += [line for line in lines if line.startswith("#include")]
            body += [f'#line {block.line + 1} "{block.page.name}"'] + [line if not line.startswith("#include") else "" for line in lines]
            if block.run == "main":
                calls.append('  { char name[] = "program"; char* words[] = {name, nullptr}; if (page::main(1, words) != 0) return 1; std::cout << "ran main" << std::endl; }')
            elif block.run:
                calls.append(f'  run("{block.run}", page::{block.run});')
        return "\n".join([*dict.fromkeys(includes), "#include <fstream>", "#include <iostream>", "namespace page {", *body, "}  // namespace page", """
void run(const char* name, const rtrain::TrainFunction& function) {
  const auto result = rtrain::TorchTrainer(function, {.num_workers = 0}, {.name = name, .storage_path = "results"}).fit();
  if (result.error) throw std::runtime_error(std::string(name) + ": " + result.error->message);
  std::cout << "ran " << name << std::endl;
}
int main() {""", *calls, "}", ""])


def own_network():
    """A prefix that gives a command a loopback of its own, so that default ports are free; [] where that is not allowed."""
    for prefix in (["unshare", "-n"], ["unshare", "-rn"]):
        if subprocess.run([*prefix, "true"], capture_output=True).returncode == 0:
            return prefix
    return []


class Commands(unittest.TestCase):
    """One page, one shell."""

    def run_page(self, page):
        steps = [block for block in blocks(page) if block.language == "sh" and "run" in block.marks]
        if not TORCH:
            steps = [block for block in steps if "torch" not in block.marks]
        folder = Path(tempfile.mkdtemp(prefix="rtrain-docs-"))
        try:
            checkout, home = folder / "rtrain", folder / "home"
            checkout.mkdir()
            home.mkdir()
            for entry in SOURCE.iterdir():
                if not entry.name.startswith((".", "build")):
                    (checkout / entry.name).symlink_to(entry)
            (checkout / "build").symlink_to(BUILD)
            for block in blocks(page):
                if block.file:
                    (checkout / block.file).write_text(block.text)
            script = "set -euo pipefail\n" + ("ip link set lo up\n" if own_network() else "")
            if "cluster" in steps[0].marks:
                script += CLUSTER
            script += "".join(f"echo '--- {block}'\n{block.text}" for block in steps)
            if "cluster" in steps[0].marks:
                script += "kill $head $agent\nwait\n"
            environment = {"HOME": str(home), "PATH": f"{BUILD / 'bin'}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
            shell = subprocess.Popen([*own_network(), "bash", "-c", script], cwd=checkout, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, text=True, start_new_session=True)
            try:
                output, _ = shell.communicate(timeout=150)
            except subprocess.TimeoutExpired:
                os.killpg(shell.pid, signal.SIGKILL)
                self.end_leftovers(home)
                output, _ = shell.communicate()
                self.fail(f"{page.name} did not end\n{output}")
            left = self.end_leftovers(home)
            if os.environ.get("RTRAIN_DOCS_SHOW"):
                print(output)
            self.assertEqual(shell.returncode, 0, f"{page.name} failed\n{output}")
            self.assertEqual(left, [], f"{page.name} left processes behind\n{output}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def end_leftovers(home):
        """Ends and names the processes whose HOME is `home`."""
        left = []
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            try:
                if f"HOME={home}".encode() in (process / "environ").read_bytes().split(b"\0"):
                    left.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                    os.kill(int(process.name), signal.SIGKILL)
            except OSError:
                continue
        return left


def add_pages():
    for page in PAGES:
        if any(block.language == "sh" and "run" in block.marks for block in blocks(page)):
            name = re.sub(r"\W+", "_", page.relative_to(SOURCE).with_suffix("").as_posix())

            def test(self, page=page):
                self.run_page(page)

            setattr(Commands, f"test_{name}", test)


add_pages()

if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=2)
