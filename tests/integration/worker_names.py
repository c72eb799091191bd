"""Joining a process group asks no name service: a resolver that does not answer would hold up each start by 5 s."""
import os, socket, subprocess, sys, tempfile, threading, time, unittest

COLLECTIVES = os.path.join(os.path.dirname(sys.argv.pop(1)), "tests", "worker_collectives_test")
ALONE = "RTRAIN_TEST_ALONE"


class Names(unittest.TestCase):
    def test_no_question_reaches_the_resolver(self):
        with tempfile.NamedTemporaryFile("w") as resolv, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
            resolver.bind(("127.0.0.1", 53))
            resolver.settimeout(0.1)
            resolv.write("nameserver 127.0.0.1\n")
            resolv.flush()
            subprocess.run(["mount", "--bind", resolv.name, "/etc/resolv.conf"], check=True)
            questions, done = [], threading.Event()

            def listen():
                while not done.is_set():
                    try:
                        questions.append(resolver.recv(512))
                    except TimeoutError:
                        pass
            listener = threading.Thread(target=listen)
            listener.start()
            begun = time.monotonic()
            ran = subprocess.run([COLLECTIVES, "collectives: values over three processes"], capture_output=True, text=True, timeout=60)
            took = time.monotonic() - begun
            done.set()
            listener.join()
            self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
            self.assertEqual(questions, [])
            self.assertLess(took, 5)


if __name__ == "__main__":
    if not os.environ.get(ALONE):
        # A network and a mount table of its own: its resolver is nobody else's.
        if subprocess.run(["unshare", "-mn", "true"], capture_output=True).returncode != 0:
            print("skipped: no namespaces here (root?)")
            sys.exit(77)
        os.environ[ALONE] = "1"
        os.execvp("unshare", ["unshare", "-mn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, os.path.abspath(__file__), os.path.dirname(os.path.dirname(COLLECTIVES)) + "/bin"])
    unittest.main(verbosity=2)
