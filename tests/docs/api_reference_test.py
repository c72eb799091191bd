"""The reference of the public headers: every header has a page and every symbol a sentence, and what has none is noticed."""
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(sys.argv.pop(1)).resolve()
INCLUDE = SOURCE / "worker" / "include"
if shutil.which("doxygen") is None:
    print("skipped: there is no doxygen; scripts/deps --checks installs it")
    sys.exit(77)


def generate(out, *options):
    return subprocess.run([SOURCE / "scripts" / "api-reference", out, *options], capture_output=True, text=True, timeout=100)


class Reference(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="rtrain-api-")
        cls.out = Path(cls.folder.name, "api")
        cls.done = generate(cls.out, "--check")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def page(self, name):
        return (self.out / name).read_text()

    def test_every_public_header_is_in_it_and_every_symbol_has_a_sentence(self):
        self.assertEqual((self.done.returncode, self.done.stderr), (0, ""))
        headers = {path.relative_to(INCLUDE / "rtrain").as_posix() for path in (INCLUDE / "rtrain").rglob("*.h") if "detail" not in path.parts}
        listed = dict(re.findall(r"^\| \[(.*?)\]\((.*?)\)", self.page("index.md"), flags=re.M))
        self.assertEqual(set(listed), headers)
        for header, page in listed.items():
            self.assertTrue(self.page(page).startswith(f"# rtrain/{header}\n"), page)

    def test_a_page_has_declarations_defaults_comments_and_errors(self):
        trainer = self.page("trainer.md")
        self.assertIn("## TrainerOptions\n", trainer)
        self.assertRegex(trainer, r"\| `std::int64_t log_every_n_steps = 50` \| training steps between step metrics for loggers")
        self.assertRegex(trainer, r"`void fit\(const AnyModule& module,")
        self.assertIn("**Throws** `std::", trainer)
        self.assertNotIn("detail::", self.page("index.md"))
        optim = self.page("optim.md")
        self.assertIn("```cpp\nstruct optim::AdamWOptions", optim)
        self.assertIn("AdamW(split_decay(*this, 0.1), {.lr = 1e-3})\n", optim)  # an example stays code
        self.assertIn("See `optim::SGDOptions`", optim)  # what is described once is pointed to
        for page in self.out.glob("*.md"):
            text = page.read_text()
            self.assertEqual(text.count("```") % 2, 0, page)
            rows = [line for line in text.splitlines() if line.startswith("| `")]
            self.assertEqual({len(re.findall(r"(?<!\\)\|", row)) for row in rows} - {3}, set(), page)

    def test_a_symbol_and_a_header_without_a_sentence_are_named(self):
        include = Path(self.folder.name, "include")
        (include / "rtrain").mkdir(parents=True)
        (include / "rtrain" / "a.h").write_text("""// One header.
#pragma once
namespace rtrain {

/// The length of a thing in metres, for both.
double length(int thing);
double length(double thing);

int width(int thing);

/// Options of Box.
struct BoxOptions {
  int edges = 12;  ///< 12 or fewer
};
class Box {
 public:
  explicit Box(BoxOptions options);
};

enum class Side { kLeft, kRight };

namespace detail {
struct Hidden {};
}

}  // namespace rtrain
""")
        (include / "rtrain" / "b.h").write_text("#pragma once\n")
        done = generate(Path(self.folder.name, "small"), "--check", "--include", include)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.splitlines(), ["rtrain/a.h:20: enum rtrain::Side has no sentence", "rtrain/a.h:9: function rtrain::width has no sentence",
                                                    "rtrain/b.h: has no introduction"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
