"""Each fault that is planted is noticed by the test that is there for it, and without one that test passes."""
import os, subprocess, sys, unittest

PLANTED_TEST = sys.argv.pop(1)
NOTICED_BY = {
    "folder_not_synced": "segment files: what a commit relies on outlasts a power cut",
    "lost_stream_is_success": "follow: a stream that is lost for good is never a success",
}


class Faults(unittest.TestCase):
    def run_test(self, name, **environment):
        return subprocess.run([PLANTED_TEST, name], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)

    def test_each_is_noticed(self):
        for fault, test in NOTICED_BY.items():
            with self.subTest(fault):
                sound, broken = self.run_test(test), self.run_test(test, RTRAIN_FAULT=fault)
                self.assertEqual(sound.returncode, 0, sound.stdout)
                self.assertNotIn("No test cases matched", sound.stdout)
                self.assertIn("FAILED:", broken.stdout)
                self.assertGreater(broken.returncode, 0, broken.stdout)


if __name__ == "__main__":
    unittest.main()
