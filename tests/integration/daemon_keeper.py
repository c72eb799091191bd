"""The keeper by itself, with this script as its agent: forks, records, signals, reconnection, and its lease."""
import contextlib, json, os, shutil, signal, socket, struct, subprocess, tempfile, time, unittest

from frames import Peer
from harness import BIN, main, processes_with, wait_for

SECRET = "only-the-keeper-knows"


class Keeper(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="rtrain-k-")
        self.addCleanup(shutil.rmtree, self.root)
        self.addCleanup(self.nothing_left)
        self.door = socket.socket(socket.AF_UNIX)
        self.door.bind(self.root + "/agent.sock")
        self.door.listen()
        self.door.settimeout(5)
        self.addCleanup(self.door.close)
        self.log = open(self.root + "/keeper.log", "wb")
        self.addCleanup(self.log.close)
        self.keeper = subprocess.Popen([os.path.join(BIN, "rtrain-keeper"), "--socket", self.root + "/agent.sock"], env={"RTRAIN_SECRET": SECRET, "PATH": os.environ["PATH"]},
                                       stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True)
        self.addCleanup(self.end_keeper)
        self.agent = self.accept()

    def end_keeper(self):
        if self.keeper.poll() is None:
            self.keeper.kill()
            self.keeper.wait()

    def nothing_left(self):
        wait_for("end of all processes: %s" % processes_with(self.root), lambda: not processes_with(self.root), 3)

    def accept(self, lease_s=10.0, running=()):
        agent = Peer(self.door.accept()[0])
        self.addCleanup(agent.connection.close)
        hello = agent.take()
        self.assertEqual((hello["type"], hello["role"], hello["token"], hello["pid"]), ("hello", "keeper", SECRET, self.keeper.pid))
        self.assertEqual([key["rank"] for key in hello["running"]], list(running))
        agent.say("welcome", lease_s=lease_s, heartbeat_s=lease_s / 5)
        return agent

    def key(self, rank):
        return {"job": 7, "attempt": 2, "rank": rank}

    def dir(self, rank):
        return "%s/rank-%d" % (self.root, rank)

    def spawn(self, script, rank=0, **more):
        self.ask(script, rank, **more)
        result = self.agent.take()
        self.assertEqual((result["type"], result["key"]), ("spawn_result", self.key(rank)))
        return result

    def ask(self, script, rank=0, **more):
        os.makedirs(self.dir(rank), exist_ok=True)
        self.agent.say("spawn_rank", **{**dict(key=self.key(rank), argv=script if isinstance(script, list) else ["sh", "-c", script], train_func=None, working_dir=self.root,
                                               env=[["PATH", os.environ["PATH"]], ["RTRAIN_RANK_DIR", self.dir(rank)], ["EMPTY", ""]], rank_dir=self.dir(rank)), **more})

    def end_of(self, rank=0):
        end = self.agent.take()
        self.assertEqual((end["type"], end["key"]), ("supervised_end", self.key(rank)))
        return end["status"]

    def file(self, name, rank=0):
        with open(os.path.join(self.dir(rank), name)) as file:
            return file.read()

    def alive(self, pid):
        return pid in processes_with(self.root)

    def test_a_rank_runs_alone_and_its_record_is_on_disk_before_its_end_is_told(self):
        pid = self.spawn('env | grep -v ^PWD= | sort; echo "words to stderr" >&2; readlink /proc/self/fd/0; ps -o sid= -p $$ | tr -d " "; exit 3')["pid"]
        self.assertEqual(self.end_of(), {"exit_code": 3, "signal": None, "lost": False})
        record = json.loads(self.file("exit.json"))
        self.assertEqual((record["job"], record["attempt"], record["rank"], record["pid"], record["status"]["exit_code"]), (7, 2, 0, pid, 3))
        lines = self.file("log").splitlines()
        self.assertEqual(lines, ["EMPTY=", "PATH=" + os.environ["PATH"], "RTRAIN_RANK_DIR=" + self.dir(0), "words to stderr", "/dev/null", str(pid)])

    def test_signals_go_to_the_whole_group_and_only_to_that_rank(self):
        # exec: a shell that sees its child killed before its own signal comes exits by itself, with 128 + 9
        one = self.spawn("sleep 60 & exec sleep 61", rank=0)["pid"]
        other = self.spawn("exec sleep 62", rank=1)["pid"]
        wait_for("children", lambda: len(processes_with(self.dir(0))) >= 2)
        self.agent.say("signal_rank", key=self.key(0), signal=int(signal.SIGTERM))
        self.assertEqual(self.end_of(0)["signal"], 15)
        wait_for("end of the group", lambda: not processes_with("RTRAIN_RANK_DIR=" + self.dir(0) + "\0"), 1)
        self.assertTrue(self.alive(other))
        self.agent.say("signal_rank", key=self.key(0), signal=9)  # over: ignored
        self.agent.say("signal_rank", key=self.key(1), signal=9)
        self.assertEqual(self.end_of(1)["signal"], 9)
        self.assertNotEqual(one, other)

    def test_what_a_rank_leaves_outside_its_group_ends_with_it(self):
        self.spawn("(setsid sh -c 'setsid sleep 300 & sleep 301' &); sleep 0.2")
        self.assertEqual(self.end_of()["exit_code"], 0)
        self.assertEqual(processes_with("RTRAIN_RANK_DIR=" + self.dir(0) + "\0"), {})  # before its end is told

    def test_what_cannot_be_started_is_said(self):
        self.assertGreater(self.spawn(["/nonexistent/program"])["pid"], 0)
        self.assertEqual(self.end_of()["exit_code"], 127)
        error = json.loads(self.file("error.json"))
        self.assertEqual((error["kind"], error["message"]), ("exec", "cannot start /nonexistent/program: No such file or directory"))
        result = self.spawn("true", rank=1, working_dir="/nonexistent")
        self.assertEqual((result["pid"], result["error"]), (0, "enter working_dir /nonexistent: No such file or directory"))
        self.assertEqual(json.loads(self.file("error.json", rank=1))["kind"], "exec")
        result = self.spawn("true", rank=2, rank_dir="/nonexistent/rank")
        self.assertEqual((result["pid"], result["error"]), (0, "open /nonexistent/rank/log: No such file or directory"))
        self.assertGreater(self.spawn("true", rank=3)["pid"], 0)
        self.assertEqual(self.end_of(3)["exit_code"], 0)

    def test_ranks_outlive_the_connection_and_are_told_of_at_the_next(self):
        pids = {rank: self.spawn("until [ -e ../end-%d ]; do sleep 0.02; done; exit %d" % (rank, 4 + rank), rank, working_dir=self.dir(0))["pid"] for rank in range(2)}
        for _ in range(3):
            self.agent.connection.close()
            self.agent = self.accept(running=(0, 1))
            told = [self.agent.take() for _ in pids]
            self.assertEqual({message["key"]["rank"]: (message["type"], message["pid"], message["error"]) for message in told},
                             {rank: ("spawn_result", pid, "") for rank, pid in pids.items()})
        for rank in pids:
            open("%s/end-%d" % (self.root, rank), "w").close()
            self.assertEqual(self.end_of(rank)["exit_code"], 4 + rank)

    def stuck(self, rank):
        """A rank that hangs on its way into its program, as on a dead file server: nobody reads its log."""
        os.makedirs(self.dir(rank))
        os.mkfifo(self.dir(rank) + "/log")
        self.ask("echo never", rank)

    def test_a_rank_that_hangs_before_its_program_holds_up_nobody(self):
        self.stuck(0)
        begun = time.monotonic()
        self.spawn("exit 6", rank=1)
        self.assertEqual(self.end_of(1)["exit_code"], 6)
        self.assertLess(time.monotonic() - begun, 1)
        self.agent.connection.close()
        self.agent = self.accept(running=(0,))  # and no word that it was spawned
        for number in (15, 9):
            if number == 9:
                self.stuck(2)
            rank = 0 if number == 15 else 2
            self.agent.say("signal_rank", key=self.key(rank), signal=number)
            result = self.agent.take()
            self.assertEqual((result["type"], result["key"], result["error"]), ("spawn_result", self.key(rank), ""))
            self.assertEqual(self.end_of(rank)["signal"], number)

    def test_a_rank_that_hangs_before_its_program_ends_with_the_keeper(self):
        self.stuck(0)
        self.spawn("sleep 60", rank=1)
        self.keeper.send_signal(signal.SIGTERM)
        self.assertEqual(self.keeper.wait(timeout=3), 0)
        self.assertEqual(json.loads(self.file("exit.json", 0))["status"]["signal"], 9)

    def test_a_rank_that_ends_while_nobody_listens_leaves_its_record(self):
        self.spawn("sleep 0.3; exit 5")
        self.door.close()
        os.unlink(self.root + "/agent.sock")
        self.agent.connection.close()
        wait_for("record", lambda: os.path.exists(self.dir(0) + "/exit.json"))
        self.assertEqual(json.loads(self.file("exit.json"))["status"]["exit_code"], 5)
        self.assertIsNone(self.keeper.poll())

    def test_silence_for_a_lease_ends_everything(self):
        self.agent.say("welcome", lease_s=0.5, heartbeat_s=0.1)
        pid = self.spawn("trap '' TERM; while :; do sleep 0.1; done")["pid"]
        for _ in range(8):  # words keep it alive
            time.sleep(0.1)
            self.agent.say("heartbeat")
        self.assertTrue(self.alive(pid))
        begun = time.monotonic()
        self.assertEqual(self.keeper.wait(timeout=3), 3)
        self.assertGreater(time.monotonic() - begun, 0.35)
        self.assertFalse(self.alive(pid))
        self.assertEqual(json.loads(self.file("exit.json"))["status"]["signal"], 9)

    def test_sigterm_ends_the_ranks_with_their_records(self):
        pids = [self.spawn("trap '' TERM; while :; do sleep 0.1; done", rank=rank)["pid"] for rank in range(3)]
        self.keeper.send_signal(signal.SIGTERM)
        self.assertEqual(self.keeper.wait(timeout=3), 0)
        self.assertFalse(set(pids) & set(processes_with(self.root)))
        self.assertEqual([json.loads(self.file("exit.json", rank))["status"]["signal"] for rank in range(3)], [9, 9, 9])

    def test_kill_9_takes_the_ranks_along(self):
        pid = self.spawn("exec sleep 60")["pid"]
        self.keeper.kill()
        self.keeper.wait()
        wait_for("end of the rank", lambda: not self.alive(pid), 1)

    def test_refused_means_gone(self):
        pid = self.spawn("sleep 60")["pid"]
        self.agent.say("refused", code="unauthenticated", message="another agent lives here now")
        self.assertEqual(self.keeper.wait(timeout=3), 1)
        self.assertFalse(self.alive(pid))

    def test_words_it_does_not_understand_cost_the_connection_only(self):
        pid = self.spawn("exec sleep 60")["pid"]
        for data in (os.urandom(65536), b"RTR1" + struct.pack(">II", 0xFFFFFFFF, 0xFFFFFFFF), b"RTR1" + struct.pack(">II", 2, 0) + b"{}"):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.agent.connection.sendall(data)
            self.agent.connection.close()
            self.agent = self.accept(running=(0,))
        self.assertTrue(self.alive(pid))
        self.assertIsNone(self.keeper.poll())

    def test_half_a_message_does_not_outlive_the_lease(self):
        self.agent.say("welcome", lease_s=0.5, heartbeat_s=0.1)
        pid = self.spawn("sleep 60")["pid"]
        self.agent.connection.sendall(b"RTR1\0\0")
        self.assertEqual(self.keeper.wait(timeout=3), 3)
        self.assertFalse(self.alive(pid))


if __name__ == "__main__":
    main()
