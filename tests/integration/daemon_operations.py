"""What operators and users say to the head, with real processes: drains, cordons, arrays, dependencies, reservations, who did what."""
import getpass, json, os, subprocess, time

from harness import BIN, ClusterTest, main, wait_for


class Operations(ClusterTest):
    options = {"agents": ("a", "b"), "cpus": 4, "head": ("--log-level", "info")}

    def rtrain(self, *args, check=0, stdin=None):
        done = subprocess.run([os.path.join(BIN, "rtrain"), *args], env={**self.cluster.env, "RTRAIN_API": self.cluster.api_address}, input=stdin, capture_output=True,
                              text=True, timeout=60, cwd=self.cluster.root)
        self.assertEqual(done.returncode, check, done.stdout + done.stderr)
        return done.stdout

    def document(self, *args):
        return json.loads(self.rtrain(*args, "-o", "json"))

    def submit(self, script, *options, **more):
        return self.rtrain("submit", "-o", "name", "--detach", *options, "-", stdin=json.dumps(self.cluster.spec(script, **more))).strip()

    def node(self, name):
        return self.cluster.api("GET", "/v1/nodes/" + name)[1]

    def release_nodes(self):
        for name in ("a", "b"):
            self.rtrain("node", "uncordon", name)

    # ---- nodes --------------------------------------------------------------------------------------------------

    def test_a_drain_moves_a_job_within_its_deadline(self):
        c = self.cluster
        self.addCleanup(self.release_nodes)
        # One that goes when it is asked, and one that does not listen.
        script = "echo attempt $RTRAIN_ATTEMPT on $RTRAIN_NODE; [ $RTRAIN_ATTEMPT = 2 ] && exit 0; %s while :; do sleep 0.1; done"
        kind, stubborn = (c.submit(script % trap) for trap in ("", "trap '' TERM;"))
        docs = [c.wait_state(id, "RUNNING") for id in (kind, stubborn)]
        homes = {doc["ranks"][0]["node"] for doc in docs}
        other = ({"a", "b"} - homes or {"b"}).pop()
        for home in homes - {other}:
            begun = time.monotonic()
            said = self.rtrain("node", "drain", home, "--deadline", "2s", "--reason", "new disk", "--wait", "--timeout", "30")
            self.assertIn("node %s is drained: drained by " % home, said)
            self.assertLess(time.monotonic() - begun, 20)
        for id, doc in zip((kind, stubborn), docs):
            end = c.wait_end(id)
            if doc["ranks"][0]["node"] == other:
                continue
            self.assertEqual((end["state"], end["attempt"], end["failures"], end["drains"]), ("SUCCEEDED", 2, 0, 1))
            self.assertEqual(c.log_of(id, attempt=2), "attempt 2 on %s\n" % other)
            self.assertIn("new disk", self.rtrain("events", str(id)))
            self.assertIn("drained 1 time", self.rtrain("status", str(id)))
        self.assertIn("node drained", c.head.log())
        self.assertIn("DRAINED", self.rtrain("nodes"))

    def test_nothing_starts_on_a_cordoned_node_also_after_a_restart_of_its_agent(self):
        c = self.cluster
        self.addCleanup(self.release_nodes)
        self.assertIn("is cordoned", self.rtrain("node", "cordon", "a", "--reason", "memory errors"))
        self.assertEqual((self.node("a")["state"], self.node("b")["state"]), ("cordoned", "ready"))
        ids = [c.submit("sleep 0.2") for _ in range(4)]
        self.assertEqual({c.wait_end(id)["ranks"][0]["node"] for id in ids}, {"b"})
        big = c.submit("true", workers=2, cpus=4)
        self.assertIn("node a is cordoned", wait_for("reason", lambda: c.job(big)["reason"]))
        self.assertIn("node a is cordoned", self.rtrain("queue"))
        c.daemons["a"].kill()
        c.daemons["a"].wait()
        c.start_agent("a")
        wait_for("agent", lambda: self.node("a")["alive"])
        self.assertEqual(self.node("a")["state"], "cordoned")
        self.rtrain("node", "uncordon", "a")
        self.assertEqual(c.wait_end(big)["state"], "SUCCEEDED")

    def test_labels_and_mistakes(self):
        self.rtrain("node", "label", "a", "rack=r1", "zone=z")
        self.assertEqual(self.node("a")["labels"].get("rack"), "r1")
        self.rtrain("node", "label", "a", "rack-")
        self.assertNotIn("rack", self.node("a")["labels"])
        self.rtrain("node", "cordon", "nowhere", check=3)
        self.rtrain("node", "return", "a", check=7)
        for wrong in (["node", "cordn", "a"], ["node", "label", "a"], ["node", "label", "a", "rack"], ["node", "cordon", "a", "--deadline", "5m"], ["node", "drain", "a", "--deadline", "5"]):
            self.rtrain(*wrong, check=2)

    # ---- arrays and dependencies ----------------------------------------------------------------------------------

    def test_an_array_runs_so_many_at_a_time(self):
        c = self.cluster
        folder = c.root + "/turns"
        os.mkdir(folder)
        script = 'touch %s/$RTRAIN_ARRAY_INDEX; ls %s | wc -l; sleep 0.4; rm %s/$RTRAIN_ARRAY_INDEX; echo "$RTRAIN_ARRAY_JOB_ID $RTRAIN_ARRAY_COUNT $RTRAIN_ARRAY_MIN $RTRAIN_ARRAY_MAX $RTRAIN_ARRAY_STEP"' % (folder, folder, folder)
        array = self.submit(script, "--array", "0-4%2")
        for index in range(5):
            name = "%s_%d" % (array, index)
            self.rtrain("result", "--wait", name)
            running, facts = self.rtrain("logs", name).splitlines()
            self.assertLessEqual(int(running), 2)
            self.assertEqual(facts, "%s 5 0 4 1" % array)
        listed = self.rtrain("list", "--array", array, "-o", "name").split()
        self.assertEqual(listed, ["%s_%d" % (array, index) for index in (4, 3, 2, 1, 0)])

    def test_jobs_of_an_array_are_cancelled_by_index_and_together(self):
        c = self.cluster
        array = self.submit("sleep 60", "--array", "0-9", "--hold")
        self.assertEqual(self.rtrain("cancel", "%s_[3-5,7]" % array, "-o", "name").split(), ["%s_%d" % (array, index) for index in (3, 4, 5, 7)])
        self.assertEqual(self.rtrain("cancel", "%s_9" % array, "-o", "name").split(), ["%s_9" % array])
        self.rtrain("release", "%s_0" % array)
        self.assertEqual(c.wait_state(int(array), "RUNNING")["array"]["index"], 0)
        self.assertEqual(len(self.rtrain("cancel", "--wait", array, "-o", "name").split()), 5)
        self.rtrain("cancel", array, check=7)
        self.rtrain("cancel", "%s_77" % array, check=3)
        self.assertEqual({job["state"] for job in self.document("list", "--array", array)["jobs"]}, {"CANCELLED"})

    def test_a_chain_of_dependencies(self):
        c = self.cluster
        first = self.submit("sleep 0.3; echo first")
        second = self.submit("echo second", "--depends-on", "afterok:" + first)
        third = self.submit("exit 3", "--depends-on", "afterok:" + second)
        never = self.submit("echo never", "--depends-on", "afterok:" + third)
        anyway = self.submit("echo anyway", "--depends-on", "afterany:" + third)
        self.assertEqual([c.wait_end(int(id))["state"] for id in (first, second, third, anyway)], ["SUCCEEDED", "SUCCEEDED", "FAILED", "SUCCEEDED"])
        self.assertLessEqual(c.job(int(first))["ended_at"], c.job(int(second))["started_at"])
        self.assertIn("DependencyNeverSatisfied", c.job(int(never))["reason"])
        self.assertIn("DependencyNeverSatisfied", self.rtrain("queue"))
        self.rtrain("cancel", never)
        code, refusal = c.api("POST", "/v1/jobs", c.spec("true", scheduling={"depends_on": ["afterok:99999"]}))
        self.assertEqual((code, refusal["code"]), (404, "not_found"))

    # ---- reservations and users -----------------------------------------------------------------------------------

    def test_a_reservation_is_made_and_waited_for(self):
        c = self.cluster
        self.addCleanup(c.api, "DELETE", "/v1/reservations/soon")  # for the other tests, whatever becomes of this one
        made = self.document("reservation", "create", "soon", "--nodes", "b", "--start", "now+2s", "--duration", "1h")
        self.assertFalse(made["active"])
        waits = self.submit("true", "--reservation", "soon")
        self.assertIn("waits for reservation soon", c.job(int(waits))["reason"])
        self.rtrain("reservation", "create", "later", "--nodes", "a,b", "--duration", "2h", check=7)
        self.rtrain("reservation", "create", "later", "--nodes", "nowhere", "--duration", "2h", check=3)
        self.assertEqual(c.wait_end(int(waits))["state"], "SUCCEEDED")
        self.assertIn("ACTIVE", self.rtrain("reservation", "list"))
        self.rtrain("reservation", "delete", "soon")
        self.assertEqual(self.rtrain("reservation", "list", "-o", "name"), "")

    def test_who_did_what(self):
        c = self.cluster
        me = getpass.getuser()
        id = self.submit("sleep 60", "--hold")
        self.assertEqual(c.job(int(id))["user"], me)
        self.rtrain("release", id)
        c.wait_state(int(id), "RUNNING")
        # On a Unix socket nobody is who he says he is.
        status, _, _ = c.request("POST", "/v1/jobs/%s/cancel" % id, headers={"Rtrain-User": "somebody"})
        self.assertEqual(status, 200)
        self.assertEqual(c.wait_end(int(id))["reason"], "cancelled by " + me)
        events = self.rtrain("events", id)
        self.assertIn("submitted by %s" % me, events)
        self.assertIn("released by %s" % me, events)
        self.assertIn(id, self.rtrain("list", "-u", me, "-o", "name").split())
        self.assertEqual(self.rtrain("list", "-u", "somebody", "-o", "name"), "")
        self.assertIn("USER", self.rtrain("list", "-o", "wide"))


if __name__ == "__main__":
    main()
