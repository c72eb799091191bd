"""What the loggers write, read by the tools that people read it with: TensorBoard's own reader, and a server that speaks MLflow's REST API.

The reader needs the tests' own Python environment (scripts/deps --test). A real MLflow server, where it could be installed, is asked as well."""
import http.server, json, os, signal, socket, subprocess, tempfile, threading, unittest, urllib.error, urllib.parse, urllib.request

from harness import BIN, main, wait_for

PROGRAM = os.path.join(os.path.dirname(BIN), "tests", "logger_program")
CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
PYTHON = os.path.join(CACHE, "rtrain/python-tests/bin/python3")
HAS_TENSORBOARD = os.path.exists(PYTHON) and subprocess.run([PYTHON, "-c", "import tensorboard"], capture_output=True).returncode == 0
MLFLOW = os.path.join(CACHE, "rtrain/python-mlflow/bin/python3")
HAS_MLFLOW = os.path.exists(MLFLOW) and subprocess.run([MLFLOW, "-c", "import mlflow.server"], capture_output=True).returncode == 0
READ = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
a = EventAccumulator(sys.argv[1], size_guidance={"histograms": 0, "images": 0, "scalars": 0, "tensors": 0})
a.Reload()
from tensorboard.plugins.hparams import plugin_data_pb2
hparams = {}
for tag, metadata in a.summary_metadata.items():
    if metadata.plugin_data.plugin_name == "hparams":
        data = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)
        hparams[tag] = {"start": {k: v.number_value or v.string_value for k, v in data.session_start_info.hparams.items()},
                        "names": [info.name for info in data.experiment.hparam_infos], "status": data.session_end_info.status}
h = a.Histograms("weights")[0].histogram_value
print(json.dumps({
    "tags": a.Tags(), "hparams": hparams,
    "scalars": {tag: [(e.step, e.value) for e in a.Scalars(tag)] for tag in a.Tags()["scalars"]},
    "histogram": [h.min, h.max, h.num, h.sum, h.sum_squares, sum(h.bucket)],
    "images": {tag: [a.Images(tag)[0].width, a.Images(tag)[0].height, a.Images(tag)[0].encoded_image_string[:8].hex()] for tag in a.Tags()["images"]},
    "text": [v.tensor_proto.string_val[0].decode() for tag in a.Tags()["tensors"] if tag.startswith("note") for v in a.Tensors(tag)],
    "plugins": {tag: m.plugin_data.plugin_name for tag, m in a.summary_metadata.items()}}))
"""


class Program(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="rtrain-l-")
        self.root = self.folder.name
        self.env = {"PATH": os.environ["PATH"], "HOME": self.root, "LANG": "C.UTF-8"}

    def tearDown(self):
        self.folder.cleanup()

    def train(self, loggers, how="", **env):
        done = subprocess.run([PROGRAM, json.dumps(loggers), how], env={**self.env, **env}, capture_output=True, text=True, timeout=120, cwd=self.root)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout), done.stderr


@unittest.skipUnless(HAS_TENSORBOARD, "tensorboard is not there; scripts/deps --test installs it")
class TensorBoard(Program):
    def test_its_own_reader_reads_every_kind_of_value(self):
        answer, _ = self.train([{"name": "TensorBoardLogger", "save_dir": "logs"}])
        read = subprocess.run([PYTHON, "-c", READ, os.path.join(self.root, answer["log_dir"])], capture_output=True, text=True, timeout=120)
        self.assertEqual(read.returncode, 0, read.stderr)
        found = json.loads(read.stdout)
        self.assertEqual(found["scalars"], {"hp_metric": [[0, -1.0]], "value": [[0, 10.0], [1, 11.0], [2, 12.0], [3, 13.0]],
                                            "epoch": [[0, 0.0], [1, 0.0], [2, 0.0], [3, 0.0]]})
        self.assertEqual(found["histogram"], [-2.0, 3.0, 5.0, 0.5, 14.25, 5.0])
        png = "89504e470d0a1a0a"
        self.assertEqual(found["images"], {"gray": [4, 3, png], "color": [5, 2, png]})
        self.assertEqual(found["text"], ["a **bold** word"])
        self.assertEqual(found["plugins"]["note/text_summary"], "text")
        hparams = found["hparams"]
        self.assertEqual(hparams["_hparams_/session_start_info"]["start"], {"lr": 0.125, "model/layers": 1.0, "model/name": "small"})
        self.assertEqual(hparams["_hparams_/experiment"]["names"], ["lr", "model/layers", "model/name"])
        self.assertEqual(hparams["_hparams_/session_end_info"]["status"], 1)
        with open(os.path.join(self.root, answer["log_dir"], "hparams.yaml")) as file:
            self.assertEqual(file.read(), "lr: 0.125\nmodel:\n  layers: 1\n  name: small\n")

    def test_images_are_png(self):
        answer, _ = self.train([{"name": "TensorBoardLogger", "save_dir": "logs"}])
        show = ("import sys, io, zlib, struct\nfrom tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n"
                "a = EventAccumulator(sys.argv[1]); a.Reload(); b = a.Images('gray')[0].encoded_image_string\n"
                "n = struct.unpack('>I', b[33:37])[0]; print(zlib.decompress(b[41:41 + n]).hex())")
        read = subprocess.run([PYTHON, "-c", show, os.path.join(self.root, answer["log_dir"])], capture_output=True, text=True, timeout=120)
        self.assertEqual(read.returncode, 0, read.stderr)
        self.assertEqual(read.stdout.strip(), "00" "00172e46" "00" "5d748ba2" "00" "b9d1e8ff")  # a 0 for the filter before each row


class MLflow(http.server.ThreadingHTTPServer):
    """As much of a tracking server as a logger needs; answers as MLflow 3 does."""

    daemon_threads = True

    def __init__(self, address=("127.0.0.1", 0)):
        super().__init__(address, Answers)
        self.experiments, self.runs, self.refuse, self.requests = {}, {}, None, []
        self.uri = "http://127.0.0.1:%d" % self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()


class Answers(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        name = urllib.parse.parse_qs(url.query)["experiment_name"][0]
        if name not in self.server.experiments:
            return self.answer(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Could not find experiment with name '%s'" % name})
        self.answer(200, {"experiment": {"experiment_id": self.server.experiments[name], "name": name}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        what = self.path.removeprefix("/api/2.0/mlflow/")
        self.server.requests.append((what, dict(self.headers), body))
        if self.server.refuse == what:
            return self.answer(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "not like this"})
        if what == "experiments/create":
            self.server.experiments[body["name"]] = str(len(self.server.experiments) + 1)
            return self.answer(200, {"experiment_id": self.server.experiments[body["name"]]})
        if what == "runs/create":
            id = "run%d" % len(self.server.runs)
            self.server.runs[id] = {"metrics": [], "params": {}, "status": "RUNNING", "tags": body["tags"], "name": body.get("run_name"), "experiment": body["experiment_id"]}
            return self.answer(200, {"run": {"info": {"run_id": id}}})
        run = self.server.runs[body["run_id"]]
        run["metrics"] += [(m["key"], m["step"], m["value"]) for m in body.get("metrics", [])]
        run["params"].update({p["key"]: p["value"] for p in body.get("params", [])})
        run["status"] = body.get("status", run["status"])
        self.answer(200, {})


class MLFlowLogger(Program):
    def setUp(self):
        super().setUp()
        self.server = MLflow()

    def tearDown(self):
        self.server.stop()
        super().tearDown()

    def logger(self, **options):
        return [{"name": "MLFlowLogger", "tracking_uri": self.server.uri, "experiment_name": "an experiment", **options}]

    def values(self, run):
        return [(step, value) for key, step, value in run["metrics"] if key == "value"]

    def test_a_run_with_its_parameters_metrics_and_end(self):
        answer, errors = self.train(self.logger(run_name="mine", tags={"team": "a"}), MLFLOW_TRACKING_TOKEN="secret")
        self.assertEqual(errors, "")
        self.assertEqual(answer["version"], "run0")
        run = self.server.runs["run0"]
        self.assertEqual((run["status"], run["name"], run["tags"]), ("FINISHED", "mine", [{"key": "team", "value": "a"}]))
        self.assertEqual(run["params"], {"lr": "0.125", "model/layers": "1", "model/name": "small"})
        self.assertEqual(self.values(run), [(0, 10.0), (1, 11.0), (2, 12.0), (3, 13.0)])
        self.assertTrue(all(headers["Authorization"] == "Bearer secret" for _, headers, _ in self.server.requests))
        self.assertEqual(list(self.server.experiments), ["an experiment"])
        self.assertEqual(os.listdir(self.root), [])  # nothing waits in a file

    def test_a_run_that_fails_is_FAILED(self):
        answer, _ = self.train(self.logger(), how="fail")
        self.assertTrue(answer["failed"])
        self.assertEqual(self.server.runs["run0"]["status"], "FAILED")

    def test_a_server_that_was_never_there_costs_nothing_but_a_file(self):
        uri = self.server.uri
        self.server.stop()
        answer, errors = self.train(self.logger(spool_dir=self.root + "/spool"))
        self.assertEqual(answer["failed"], False)
        self.assertEqual(errors.count("the server is away"), 1, errors)
        files = os.listdir(self.root + "/spool")
        self.assertEqual(len(files), 1)
        self.assertIn(files[0], errors)
        with open(os.path.join(self.root, "spool", files[0])) as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual(lines[0]["experiment_name"], "an experiment")
        metrics = [(m["step"], m["value"]) for line in lines[1:] for m in line["body"].get("metrics", []) if m["key"] == "value"]
        self.assertEqual(metrics, [(0, 10.0), (1, 11.0), (2, 12.0), (3, 13.0)])
        self.assertEqual(lines[-1]["body"]["status"], "FINISHED")
        self.server = MLflow(("127.0.0.1", int(uri.rsplit(":", 1)[1])))

    def test_a_server_that_comes_back_gets_everything_in_order(self):
        address = self.server.server_address
        self.server.stop()
        program = subprocess.Popen([PROGRAM, json.dumps(self.logger()), "wait"], env=self.env, cwd=self.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        wait_for("spool file", lambda: os.listdir(self.root))
        self.server = MLflow(address)
        output, errors = program.communicate("go\n", timeout=60)
        self.assertEqual(program.returncode, 0, errors)
        run = self.server.runs["run0"]
        self.assertEqual(self.values(run), [(0, 10.0), (1, 11.0), (2, 12.0), (3, 13.0)])
        self.assertEqual((run["status"], run["params"]["lr"]), ("FINISHED", "0.125"))
        self.assertEqual(os.listdir(self.root), [])

    def test_what_the_server_refuses_is_dropped_with_its_reason(self):
        self.server.refuse = "runs/log-batch"
        _, errors = self.train(self.logger())
        self.assertIn("the server refuses it (1 so far)", errors)
        self.assertIn("not like this", errors)
        self.assertEqual(self.server.runs["run0"]["status"], "FINISHED")


@unittest.skipUnless(HAS_MLFLOW, "mlflow is not there; scripts/deps --test installs it where it can")
class RealMLflow(Program):
    """The same against MLflow's own server, with a database in a file."""

    @classmethod
    def setUpClass(cls):
        cls.store = tempfile.TemporaryDirectory(prefix="rtrain-m-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        cls.uri = "http://127.0.0.1:%d" % port
        cls.log = open(cls.store.name + "/log", "wb")
        cls.process = subprocess.Popen([MLFLOW, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--backend-store-uri",
                                        "sqlite:///" + cls.store.name + "/runs.db", "--default-artifact-root", cls.store.name + "/artifacts"],
                                       stdout=cls.log, stderr=cls.log, cwd=cls.store.name, start_new_session=True,
                                       env={"PATH": os.environ["PATH"], "HOME": cls.store.name, "LANG": "C.UTF-8", "MLFLOW_DISABLE_TELEMETRY": "true"})

        def answers():
            if cls.process.poll() is not None:
                raise AssertionError(open(cls.store.name + "/log").read()[-2000:])
            try:
                return urllib.request.urlopen(cls.uri + "/health", timeout=5).status == 200
            except (urllib.error.URLError, OSError):
                return False
        try:
            wait_for("server", answers, 90)
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls):
        os.killpg(cls.process.pid, signal.SIGTERM)
        try:
            cls.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(cls.process.pid, signal.SIGKILL)
            cls.process.wait()
        cls.log.close()
        cls.store.cleanup()

    def get(self, what, **query):
        with urllib.request.urlopen(self.uri + "/api/2.0/mlflow/" + what + "?" + urllib.parse.urlencode(query), timeout=20) as answer:
            return json.loads(answer.read())

    def logger(self, **options):
        return [{"name": "MLFlowLogger", "tracking_uri": self.uri, "experiment_name": "an experiment & more", **options}]

    def test_a_run_with_its_parameters_metrics_tags_and_end(self):
        answer, errors = self.train(self.logger(run_name="mine", tags={"team": "a"}))
        self.assertEqual(errors, "")
        run = self.get("runs/get", run_id=answer["version"])["run"]
        self.assertEqual((run["info"]["status"], run["info"]["run_name"]), ("FINISHED", "mine"))
        self.assertEqual({p["key"]: p["value"] for p in run["data"]["params"]}, {"lr": "0.125", "model/layers": "1", "model/name": "small"})
        self.assertIn({"key": "team", "value": "a"}, run["data"]["tags"])
        history = self.get("metrics/get-history", run_id=answer["version"], metric_key="value")["metrics"]
        self.assertEqual(sorted((m["step"], m["value"]) for m in history), [(0, 10.0), (1, 11.0), (2, 12.0), (3, 13.0)])
        experiment = self.get("experiments/get", experiment_id=run["info"]["experiment_id"])["experiment"]
        self.assertEqual(experiment["name"], "an experiment & more")

    def test_a_second_run_is_in_the_same_experiment_and_a_third_goes_on_with_it(self):
        first, _ = self.train(self.logger())
        second, _ = self.train(self.logger(), how="fail")
        infos = [self.get("runs/get", run_id=answer["version"])["run"]["info"] for answer in (first, second)]
        self.assertEqual(len({info["experiment_id"] for info in infos}), 1)
        self.assertEqual([info["status"] for info in infos], ["FINISHED", "FAILED"])
        again, errors = self.train(self.logger(run_id=second["version"]))
        self.assertEqual((again["version"], errors), (second["version"], ""))
        self.assertEqual(self.get("runs/get", run_id=second["version"])["run"]["info"]["status"], "FINISHED")

    def test_what_the_server_refuses_is_told_in_its_words(self):
        _, errors = self.train(self.logger(run_id="0" * 32))
        self.assertIn("Run with id=" + "0" * 32 + " not found", errors)


if __name__ == "__main__":
    main()
