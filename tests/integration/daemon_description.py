"""The API's description against its answers: schemathesis, an outside tester, asks a head whatever the description allows and what it forbids.

Needs the tests' own Python environment (scripts/deps --test). RTRAIN_TEST_API_SECONDS: how long it asks, 40 by default. RTRAIN_TEST_SEED: other requests."""
import os, re, subprocess

from harness import ClusterTest, main, skip

CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
SCHEMATHESIS = os.path.join(CACHE, "rtrain/python-tests/bin/schemathesis")
DESCRIPTION = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../proto/api/openapi.json")
SECONDS = os.environ.get("RTRAIN_TEST_API_SECONDS", "40")
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance", "response_schema_conformance",
          "negative_data_rejection")
if not os.path.exists(SCHEMATHESIS):
    skip("schemathesis is not there; scripts/deps --test installs it")


class Description(ClusterTest):
    options = {"agents": ("a",), "cpus": 1, "api": "127.0.0.1:0"}  # the tester speaks TCP only

    def test_F51_answers_are_those_that_the_description_names(self):
        c = self.cluster
        done = c.submit("exit 0")
        c.wait_state(done, "SUCCEEDED")
        c.submit("sleep 300")
        for scheduling in ({"array": "0-3"}, {"hold": True}):
            status, reply = c.api("POST", "/v1/jobs", {**c.spec("sleep 1"), "scheduling": scheduling})
            self.assertEqual(status, 201, reply)
        status, reply = c.api("POST", "/v1/sweeps", {"job": c.spec("sleep 1"), "metric": "loss", "search": "random", "limits": {"trials": 4},
                                                     "parameters": {"lr": {"float": [0, 1]}}})
        self.assertEqual((status, reply.get("id")), (201, 8), reply)  # the example of the description
        # Streams of jobs that wait have no end.
        tester = subprocess.run([SCHEMATHESIS, "run", DESCRIPTION, "--url", "http://" + c.api_address, "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing",
                                 "--max-examples", "25", "--seed", os.environ.get("RTRAIN_TEST_SEED", "51"), "--max-time", SECONDS, "--no-shrink", "--request-timeout", "20",
                                 "--suppress-health-check", "all", "--continue-on-failure", "--warnings", "off", "--exclude-path", "/v1/jobs/{id}/stream", "--no-color",
                                 "--header", "Authorization: Bearer " + c.secret()],
                                env={**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": c.root}, cwd=c.root, capture_output=True, text=True, timeout=int(SECONDS) + 100)
        report = tester.stdout + tester.stderr
        self.assertEqual(tester.returncode, 0, report)
        asked = re.search(r"Test cases:\s*\n?\s*(\d[\d,]*)", report) or re.search(r"(\d[\d,]*) (?:generated|test cases)", report)
        self.assertTrue(asked and int(asked.group(1).replace(",", "")) > 300, report)
        self.assertEqual(c.api("GET", "/healthz")[1], {"status": "ok"})


if __name__ == "__main__":
    main()
