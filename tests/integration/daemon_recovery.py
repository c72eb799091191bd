"""An agent is killed at any moment; the one that comes after it finds its ranks again: running ones go on, ended ones are told with their true end."""
import json, os, random, signal, subprocess, threading, time, unittest

from harness import Cluster, main, processes_with, wait_for, without_forks


class Recovery(unittest.TestCase):
    def start(self, **options):
        self.cluster = Cluster(**{"agents": ("a",), "lease_s": 20, "heartbeat_s": 0.5, "worker_lease_s": 20, **options})
        self.addCleanup(self.cluster.stop)
        return self.cluster

    def kill_agent(self, name="a"):
        self.cluster.daemons[name].kill()
        self.cluster.daemons[name].wait()

    def restart_agent(self, name="a", *flags):
        self.cluster.start_agent(name, *flags)
        self.cluster.wait_nodes(name)

    def keeper(self):
        return without_forks([pid for pid, command in processes_with(self.cluster.root).items() if "rtrain-keeper" in command])[0]

    def alive(self, pid):
        return pid in processes_with(self.cluster.root)

    def rank_dir(self, doc, rank=0):
        return "%s/a/jobs/%d/%d/rank-%d" % (self.cluster.root, doc["id"], doc["attempt"], rank)

    # ---- running ranks --------------------------------------------------------------------------------------------

    def test_running_ranks_go_on_and_their_logs_and_ends_are_known(self):
        c = self.start()
        # Rank 1 fails when rank 0 has said all: it is stopped then.
        id = c.submit("echo one; until [ -e go ]; do sleep 0.02; done; echo two; [ $RANK = 1 ] || >said; until [ -e said ]; do sleep 0.02; done; exit $RANK", workers=2)
        doc = c.wait_state(id, "RUNNING")
        pids, keeper = [rank["pid"] for rank in doc["ranks"]], self.keeper()
        self.kill_agent()
        time.sleep(0.3)
        self.restart_agent()
        self.assertEqual(self.keeper(), keeper)
        self.assertEqual(set(pids) - set(processes_with(c.root)), set())
        self.assertEqual(c.log_of(id), "one\n")
        self.assertEqual(c.job(id)["state"], "RUNNING")
        c.write("go", "")
        doc = c.wait_end(id)
        self.assertEqual((doc["state"], doc["attempt"], doc["error"]["rank"], doc["error"]["status"]["exit_code"]), ("FAILED", 1, 1, 1))
        self.assertEqual([rank["pid"] for rank in doc["ranks"]], pids)
        self.assertEqual([c.log_of(id, rank) for rank in range(2)], ["one\ntwo\n"] * 2)

    def test_a_follower_of_the_log_sees_every_line_once(self):
        c = self.start()
        id = c.submit("for i in $(seq 60); do echo $i; sleep 0.05; done")
        c.wait_state(id, "RUNNING")
        lines = []

        def follow():
            status, _, data = c.request("GET", "/v1/jobs/%d/stream?logs=true" % id, timeout=30)
            events = [event.split("\n") for event in data.decode().split("\n\n")]
            lines.extend("".join(json.loads(e[1][6:])["text"] for e in events if e[0] == "event: log").splitlines())
        follower = threading.Thread(target=follow)
        follower.start()
        for _ in range(3):
            time.sleep(0.4)
            self.kill_agent()
            self.restart_agent()
        self.assertEqual(c.wait_end(id)["state"], "SUCCEEDED")
        follower.join(10)
        self.assertEqual(lines, [str(i) for i in range(1, 61)])

    def test_a_cancel_reaches_ranks_that_were_taken_up(self):
        c = self.start()
        id = c.submit("trap 'echo bye; exit 0' TERM; while :; do sleep 0.02; done")
        doc = c.wait_state(id, "RUNNING")
        self.kill_agent()
        self.restart_agent()
        c.api("POST", "/v1/jobs/%d/cancel" % id)
        self.assertEqual(c.wait_end(id, 5)["state"], "CANCELLED")
        self.assertTrue(c.log_of(id).endswith("bye\n"))

    def test_a_cancel_while_the_agent_is_away_is_carried_out_by_the_next(self):
        c = self.start()
        id = c.submit("sleep 60")
        c.wait_state(id, "RUNNING")
        self.kill_agent()
        c.api("POST", "/v1/jobs/%d/cancel" % id)
        c.start_agent("a")
        self.assertEqual(c.wait_end(id, 5)["state"], "CANCELLED")
        self.assertEqual(c.ranks_of(id), {})

    def test_a_new_job_finds_the_keeper_of_the_old_agent(self):
        c = self.start()
        self.assertEqual(c.run("true")["state"], "SUCCEEDED")
        keeper = self.keeper()
        self.kill_agent()
        self.restart_agent()
        self.assertEqual(c.run("true")["state"], "SUCCEEDED")
        self.assertEqual(self.keeper(), keeper)

    # ---- what ended meanwhile -------------------------------------------------------------------------------------

    def test_the_ends_of_ranks_that_ended_while_nobody_looked(self):
        c = self.start(cpus=8)
        jobs = {c.submit("echo words; until [ -e go ]; do sleep 0.02; done; " + last): (state, code, signal) for last, state, code, signal in
                (("exit 0", "SUCCEEDED", 0, None), ("exit 3", "FAILED", 3, None), ("kill -9 $$", "FAILED", None, 9), ("kill -11 $$", "FAILED", None, 11))}
        docs = [c.wait_state(id, "RUNNING") for id in jobs]
        self.kill_agent()
        c.write("go", "")
        wait_for("records", lambda: all(os.path.exists(self.rank_dir(doc) + "/exit.json") for doc in docs))
        self.restart_agent()
        for id, (state, code, number) in jobs.items():
            doc = c.wait_end(id)
            status = doc["ranks"][0]["status"]
            self.assertEqual((doc["state"], doc["attempt"], status["exit_code"], status["signal"], status["lost"]), (state, 1, code, number, False), doc)
            if state == "FAILED":
                self.assertEqual(doc["error"]["log_tail"], ["words"])
        wait_for("the ends to be known", lambda: not [f for _, _, files in os.walk(c.root + "/a/jobs") for f in files if f == "live.json"])

    def test_without_a_record_a_rank_is_lost_with_all_that_it_made(self):
        c = self.start()
        doc = c.wait_state(c.submit("(trap '' TERM; setsid sh -c 'sleep 300 & wait' &) ; exec sleep 301"), "RUNNING")
        wait_for("children", lambda: len(c.ranks_of(doc["id"])) >= 3)
        keeper = self.keeper()
        self.kill_agent()
        os.kill(keeper, signal.SIGKILL)
        wait_for("end of the rank", lambda: not self.alive(doc["ranks"][0]["pid"]))
        self.assertNotEqual(c.ranks_of(doc["id"]), {})
        self.restart_agent()
        doc = c.wait_end(doc["id"])
        self.assertEqual((doc["state"], doc["error"]["kind"], doc["error"]["status"]["lost"]), ("FAILED", "lost", True))
        self.assertIn("its supervisor (keeper) died", doc["error"]["message"])
        self.assertEqual(c.ranks_of(doc["id"]), {})
        self.assertEqual(c.run("true")["state"], "SUCCEEDED")

    def test_an_end_that_was_not_stored_is_told_by_the_next_agent_as_it_was(self):
        c = self.start()
        id = c.submit("echo words >&2; until [ -e go ]; do sleep 0.02; done; exit 4")
        doc = c.wait_state(id, "RUNNING")
        c.head.kill(signal.SIGSTOP)
        c.write("go", "")
        wait_for("the end", lambda: os.path.exists(self.rank_dir(doc) + "/end.json"))
        self.kill_agent()
        c.head.kill(signal.SIGCONT)
        self.restart_agent()
        doc = c.wait_end(id)
        self.assertEqual((doc["state"], doc["error"]["status"]["exit_code"], doc["error"]["log_tail"]), ("FAILED", 4, ["words"]))

    # ---- leases and numbers ---------------------------------------------------------------------------------------

    def test_the_next_agent_holds_the_lease_of_the_last(self):
        c = self.start(lease_s=3, heartbeat_s=0.3)
        doc = c.wait_state(c.submit("sleep 60"), "RUNNING")
        begun = time.monotonic()
        c.head.kill(signal.SIGSTOP)
        self.kill_agent()
        time.sleep(1.5)
        c.start_agent("a")
        wait_for("end of the rank", lambda: not self.alive(doc["ranks"][0]["pid"]), 4)
        self.assertGreater(time.monotonic() - begun, 2.2)
        self.assertLess(time.monotonic() - begun, 4)
        c.head.kill(signal.SIGCONT)
        self.assertEqual(c.wait_end(doc["id"])["state"], "FAILED")

    def test_ranks_whose_agent_dies_while_it_is_cut_off_end_before_the_head_gives_the_node_up(self):
        c = self.start(lease_s=2, heartbeat_s=0.3, worker_lease_s=20)  # what the agent promises is less than it might
        doc = c.wait_state(c.submit("sleep 60"), "RUNNING")
        c.head.kill(signal.SIGSTOP)
        stopped = time.monotonic()
        time.sleep(1.2)
        self.kill_agent()  # its lease has 0.5 to 0.8 s left
        self.assertTrue(self.alive(doc["ranks"][0]["pid"]))
        wait_for("end of the rank", lambda: not self.alive(doc["ranks"][0]["pid"]), 5)
        self.assertLess(time.monotonic() - stopped, 2 + 2 * 0.3)  # the head would count so long from what it heard last
        c.head.kill(signal.SIGCONT)
        c.start_agent("a")
        self.assertEqual(c.wait_end(doc["id"])["state"], "FAILED")

    def test_a_number_that_is_another_process_by_now_is_not_signalled(self):
        c = self.start()
        doc = c.wait_state(c.submit("sleep 60"), "RUNNING")
        keeper = self.keeper()
        self.kill_agent()
        os.kill(keeper, signal.SIGKILL)
        wait_for("end of the rank", lambda: not self.alive(doc["ranks"][0]["pid"]))
        strangers = [subprocess.Popen(["sleep", "60"], start_new_session=True) for _ in range(2)]
        try:
            for path, fields in ((c.root + "/a/agent.json", ("keeper",)), (self.rank_dir(doc) + "/process.json", ())):
                with open(path) as file:
                    record = json.load(file)
                target = record
                for field in fields:
                    target = target[field]
                target["pid"] = strangers[0 if fields else 1].pid
                with open(path, "w") as file:
                    json.dump(record, file)
            self.restart_agent()
            self.assertEqual(c.wait_end(doc["id"])["error"]["kind"], "lost")
            self.assertEqual(c.run("true")["state"], "SUCCEEDED")
            self.assertEqual([stranger.poll() for stranger in strangers], [None, None])
        finally:
            for stranger in strangers:
                stranger.kill()
                stranger.wait()

    def test_the_records_of_another_boot_are_losses(self):
        c = self.start()
        doc = c.wait_state(c.submit("sleep 60"), "RUNNING")
        keeper = self.keeper()
        self.kill_agent()
        os.kill(keeper, signal.SIGKILL)
        wait_for("end of the rank", lambda: not self.alive(doc["ranks"][0]["pid"]))
        with open(c.root + "/a/agent.json") as file:
            record = json.load(file)
        record["keeper"].update(boot="00000000-0000-0000-0000-000000000000", pid=os.getpid())
        c.write("a/agent.json", json.dumps(record))
        self.restart_agent()
        self.assertEqual(c.wait_end(doc["id"])["error"]["kind"], "lost")

    def test_the_rendezvous_port_is_held_again(self):
        c = self.start()
        listen = "import os, socket, time\nwhile not os.path.exists('go'): time.sleep(0.02)\n" \
                 "s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('', int(os.environ['MASTER_PORT']))); s.listen(); print('up')"
        id = c.submit(["python3", "-c", listen])
        c.wait_state(id, "RUNNING")
        with open(c.root + "/a/jobs/%d/1/launch.json" % id) as file:
            port = json.load(file)["master_port"]
        self.kill_agent()
        self.assertFalse(self.bound(port))
        self.restart_agent()
        self.assertTrue(self.bound(port))
        c.write("go", "")
        self.assertEqual(c.wait_end(id)["state"], "SUCCEEDED")
        self.assertEqual(c.log_of(id), "up\n")

    @staticmethod
    def bound(port):
        """True when somebody holds the port; one that is bound and not listened on stands in no table."""
        import socket
        with socket.socket(socket.AF_INET6) as probe:
            try:
                probe.bind(("::", port))
                return False
            except OSError:
                return True

    # ---- at any moment --------------------------------------------------------------------------------------------

    def test_kills_at_random_moments_under_many_jobs(self):
        c = self.start(cpus=16)
        random.seed(20)
        jobs = {}
        for number in range(24):
            code = number % 4
            jobs[c.submit("sleep %.2f; echo done >> done-$RTRAIN_JOB_ID-$RANK; exit %d" % (random.uniform(0, 6), code), workers=1 + number % 2)] = code
        for _ in range(12):
            time.sleep(random.uniform(0, 0.5))
            self.kill_agent()
            time.sleep(random.choice((0, 0, 0.2)))
            c.start_agent("a")
        for id, code in jobs.items():
            doc = c.wait_end(id, 40)
            self.assertEqual((doc["state"], doc["failures"]), ("FAILED" if code else "SUCCEEDED", 1 if code else 0), doc)
            if code:
                self.assertEqual(doc["error"]["status"]["exit_code"], code)
                continue
            for rank in range(doc["num_workers"]):  # an attempt that was lost on its way to the agent is placed again; one that ran never
                with open("%s/done-%d-%d" % (c.root, id, rank)) as file:
                    self.assertEqual(file.read(), "done\n")


if __name__ == "__main__":
    main()
