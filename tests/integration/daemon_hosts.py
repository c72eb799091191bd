"""Three network namespaces as three hosts: a job across them, its logs, a queue, a cancel, and a host that is cut off."""
import os, shutil, time, unittest

from harness import Cluster, Hosts, main, processes_with, skip, wait_for

TOKEN = "fedcba9876543210fedcba9876543210"
LEASE, BEAT = 1.5, 0.2
LOST_WITHIN = LEASE + 2 * BEAT + 2


class OnHosts(unittest.TestCase):
    lease = LEASE

    @classmethod
    def setUpClass(cls):
        cls.hosts = Hosts("a", "b", "c")
        cls.addClassCleanup(cls.hosts.remove)

    def setUp(self):
        # The head has a host's address of its own, so that it can be cut off from an agent that is not its neighbour.
        self.cluster = Cluster(agents=("a", "b", "c"), cpus=2, token=TOKEN, hosts=self.hosts, head_host="a", listen=self.hosts.address("a") + ":0", lease_s=self.lease, heartbeat_s=BEAT, worker_lease_s=self.lease)
        self.addCleanup(self.cluster.stop)

    def tearDown(self):
        for name in self.hosts.names:
            self.hosts.join(name)
            if shutil.which("nft"):
                self.hosts.heal(name)


class ThreeHosts(OnHosts):
    def test_a_job_on_three_hosts_its_logs_and_the_next_in_the_queue(self):
        c = self.cluster
        script = 'echo "rank $RANK on $RTRAIN_NODE $RTRAIN_NODE_ADDRESS $NODE_RANK $LOCAL_RANK/$LOCAL_WORLD_SIZE $MASTER_ADDR $GLOO_SOCKET_IFNAME"; ip -4 -o addr show eth0 | grep -o "inet [0-9.]*"; sleep 1'
        id = c.submit(script, workers=3, cpus=2, strategy="STRICT_SPREAD", env={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
        waiting = c.submit("echo mine")
        self.assertIn("needs 1 x {CPU: 1}", wait_for("reason", lambda: c.job(waiting)["reason"]))
        doc = c.wait_end(id)
        self.assertEqual((doc["state"], sorted(r["node"] for r in doc["ranks"])), ("SUCCEEDED", ["a", "b", "c"]))
        master = self.hosts.address(doc["ranks"][0]["node"])
        for rank in range(3):
            node = doc["ranks"][rank]["node"]
            own = self.hosts.address(node)
            self.assertEqual(c.log_of(id, rank), "rank %d on %s %s %d 0/1 %s eth0\ninet %s\n" % (rank, node, own, rank, master, own))
        self.assertEqual(c.wait_end(waiting)["state"], "SUCCEEDED")

    def test_the_reserved_port_is_free_for_the_store_on_rank_0s_host_and_reached_from_the_others(self):
        program = """
import os, socket, time
rank, host, port = int(os.environ["RANK"]), os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
if rank == 0:
    server = socket.socket(); server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); server.bind(("", port)); server.listen()
    for _ in range(2): server.accept()[0].sendall(b"hello")
else:
    for _ in range(100):
        try: client = socket.create_connection((host, port), timeout=5); break
        except OSError: time.sleep(0.05)
    print(client.recv(5).decode())
"""
        doc = self.cluster.run(["python3", "-c", program], workers=3, strategy="STRICT_SPREAD")
        self.assertEqual(doc["state"], "SUCCEEDED", doc["error"])
        self.assertEqual([self.cluster.log_of(doc["id"], rank) for rank in range(3)], ["", "hello\n", "hello\n"])

    def test_cancel_reaches_every_host_within_2_seconds(self):
        c = self.cluster
        id = c.submit("trap '' TERM; (setsid sleep 300 &) ; while :; do sleep 0.1; done", workers=3, strategy="STRICT_SPREAD", stop_grace_s=0.5)
        c.wait_state(id, "RUNNING")
        begun = time.monotonic()
        c.api("POST", "/v1/jobs/%d/cancel" % id)
        self.assertEqual(c.wait_end(id)["state"], "CANCELLED")
        wait_for("end of all processes", lambda: c.ranks_of(id) == {}, max(0.01, begun + 2 - time.monotonic()))

    def test_a_host_that_is_cut_off_stops_its_ranks_and_the_job_runs_on_the_rest(self):
        c = self.cluster
        id = c.submit("[ $RTRAIN_ATTEMPT = 2 ] || sleep 60", workers=2, cpus=2, strategy="STRICT_SPREAD", max_failures=1)
        doc = c.wait_state(id, "RUNNING")
        pids = {r["node"]: r["pid"] for r in wait_for("pids", lambda: all(r["pid"] for r in c.job(id)["ranks"]) and c.job(id)["ranks"])}
        victim = next(name for name in pids if name != "a")  # the head lives on a
        self.hosts.cut(victim)
        begun = time.monotonic()
        wait_for("end of rank on %s" % victim, lambda: pids[victim] not in processes_with(c.root), LEASE + 2)
        # No sooner than the agent's lease, and before the head may place its ranks elsewhere: never two of one rank.
        self.assertGreater(time.monotonic() - begun, LEASE - 2 * BEAT - 0.1)
        self.assertEqual(c.job(id)["attempt"], 1)
        wait_for("loss of the node", lambda: victim not in c.alive_nodes(), LOST_WITHIN)
        doc = c.wait_end(id)
        self.assertEqual((doc["state"], doc["attempt"], doc["failures"]), ("SUCCEEDED", 2, 1))
        self.assertNotIn(victim, {r["node"] for r in doc["ranks"]})
        self.assertNotIn(pids[next(n for n in pids if n != victim)], processes_with(c.root))
        # When the network is back the host serves again.
        self.hosts.join(victim)
        c.wait_nodes("a", "b", "c")
        self.assertEqual(c.run("true", workers=3, strategy="STRICT_SPREAD")["state"], "SUCCEEDED")

    def one_way(self, source, target):
        """The packets of one direction vanish until the job runs elsewhere: never two of one rank."""
        c = self.cluster
        script = 'while :; do date +%s.%N >> "seen-$RANK-$RTRAIN_ATTEMPT"; [ $RTRAIN_ATTEMPT = 2 ] && exit 0; sleep 0.02; done'
        id = c.submit(script, workers=2, cpus=2, strategy="STRICT_SPREAD", max_failures=1)
        doc = c.wait_state(id, "RUNNING")
        victim = next(r for r in doc["ranks"] if r["node"] != "a")
        names = {"head": "a", "agent": victim["node"]}
        self.hosts.drop(names[source], names[target])
        doc = c.wait_end(id, 2 * LOST_WITHIN)
        self.assertEqual((doc["state"], doc["attempt"], doc["failures"]), ("SUCCEEDED", 2, 1))
        wait_for("end of the cut rank", lambda: c.ranks_of(id) == {}, 4)
        def times(attempt):
            with open("%s/seen-%d-%d" % (c.root, victim["rank"], attempt)) as file:
                return [float(line) for line in file]
        self.assertLess(max(times(1)), min(times(2)))
        self.hosts.heal(names[target])
        c.wait_nodes("a", "b", "c")

    @unittest.skipUnless(shutil.which("nft"), "no nft program (nftables)")
    def test_an_agent_that_hears_but_is_not_heard_stops_before_its_ranks_run_elsewhere(self):
        self.one_way("agent", "head")

    @unittest.skipUnless(shutil.which("nft"), "no nft program (nftables)")
    def test_an_agent_that_is_heard_but_hears_nothing_stops_before_its_ranks_run_elsewhere(self):
        self.one_way("head", "agent")

    def test_a_loss_without_a_restart_is_named(self):
        c = self.cluster
        id = c.submit("sleep 60", workers=3, strategy="STRICT_SPREAD")
        c.wait_state(id, "RUNNING")
        self.hosts.cut("c")
        doc = c.wait_end(id, LOST_WITHIN + 2)
        self.assertEqual((doc["state"], doc["error"]["kind"], doc["error"]["node"], doc["error"]["status"]["lost"]), ("FAILED", "lost", "c", True))
        self.assertIn("node c is lost", doc["error"]["message"])
        wait_for("end of all processes", lambda: c.ranks_of(id) == {}, 3)


class LongLease(OnHosts):
    lease = 8  # nobody gives anybody up here

    def test_a_short_cut_is_no_loss(self):
        c = self.cluster
        id = c.submit("sleep 4; echo done", workers=3, strategy="STRICT_SPREAD")
        c.wait_state(id, "RUNNING")
        self.hosts.cut("b")
        time.sleep(1)
        self.hosts.join("b")
        doc = c.wait_end(id)
        self.assertEqual((doc["state"], doc["attempt"]), ("SUCCEEDED", 1), doc["error"])
        self.assertEqual([c.log_of(id, rank) for rank in range(3)], ["done\n"] * 3)

    @unittest.skipUnless(shutil.which("nft"), "no nft program (nftables)")
    def test_an_end_that_was_on_its_way_when_the_connection_broke_is_told_again(self):
        c = self.cluster
        id = c.submit("echo words; until [ -e end ]; do sleep 0.02; done", workers=3, strategy="STRICT_SPREAD")
        victim = next(r for r in c.wait_state(id, "RUNNING")["ranks"] if r["node"] == "b")
        self.hosts.drop("b", "a")
        c.write("end", "")
        wait_for("record", lambda: os.path.exists("%s/b/jobs/%d/1/rank-%d/exit.json" % (c.root, id, victim["rank"])))
        time.sleep(2 * BEAT)  # the message is in the connection by now
        self.hosts.refuse("b", "a")
        wait_for("break", lambda: "the connection to the head ended" in c.daemons["b"].log(), 5)
        self.hosts.heal("a")
        doc = c.wait_end(id)
        self.assertEqual((doc["state"], doc["attempt"], doc["failures"]), ("SUCCEEDED", 1, 0))


if __name__ == "__main__":
    if reason := Hosts.why_not():
        skip(reason)
    main()
