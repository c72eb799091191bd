"""Agents of the protocol version before are served as their version wants it; others are refused. A script plays the agent."""
import socket, unittest

from frames import Peer
from harness import ClusterTest, main, wait_for

OK = {"exit_code": 0, "signal": None, "lost": False}


class Versions(ClusterTest):
    options = {"agents": ()}

    def dial(self, version, name="old"):
        host, port = self.cluster.cluster_address.rsplit(":", 1)
        agent = Peer(socket.create_connection((host, int(port)), timeout=10))
        self.addCleanup(agent.connection.close)
        node = {"name": name, "address": "127.0.0.1", "resources": {"CPU": 4, "memory": 1e9}, "gpus": [], "labels": {}, "versions": {"rtrain": "0.1.0"}}
        agent.say("hello", protocol_version=version, role="agent", token=self.cluster.secret(), node=node, rank=None, running=[], pid=1, torch_version="")
        return agent

    def take(self, agent, type):
        """The next message, which must be of this type; what a version 1 never heard of would end its connection."""
        message = agent.take()
        self.assertEqual(message["type"], type)
        return message

    def test_an_agent_of_version_1_runs_a_job(self):
        agent = self.dial(1)
        self.take(agent, "welcome")
        id = self.cluster.submit("true", max_failures=0)
        asked = self.take(agent, "reserve_port")
        agent.say("port_reserved", job=asked["job"], attempt=asked["attempt"], port=1234, error="")
        launch = self.take(agent, "launch")
        key = {"job": id, "attempt": launch["attempt"], "rank": 0}
        agent.say("rank_started", key=key, pid=17)
        agent.say("rank_running", key=key)
        self.cluster.wait_state(id, "RUNNING")
        agent.say("rank_report", key=key, seq=1, time_ms=1, metrics={"loss": 0.5}, checkpoint=None, deleted_checkpoints=[])
        agent.say("heartbeat")
        self.take(agent, "heartbeat")  # its way to be told that all before it is stored
        agent.say("rank_ended", key=key, status=OK, error=None, return_value=7)
        agent.say("heartbeat")
        self.take(agent, "heartbeat")
        doc = self.cluster.wait_end(id)
        self.assertEqual((doc["state"], doc["ranks"][0]["pid"], doc["metrics"]), ("SUCCEEDED", 17, {"loss": 0.5}))
        agent.say("leaving")

    def test_an_agent_of_version_2_is_told_what_is_stored(self):
        agent = self.dial(2, "new")
        self.take(agent, "welcome")
        agent.say("leaving")
        self.assertEqual(self.take(agent, "taken")["count"], 1)
        agent.say("heartbeat")
        self.take(agent, "heartbeat")

    def test_other_versions_are_refused_with_both_numbers(self):
        for version in (0, 7, -1, 1000):
            refused = self.take(self.dial(version, "stranger"), "refused")
            self.assertIn("protocol version %d, this head version 6 and down to 1" % version, refused["message"])


if __name__ == "__main__":
    main()
