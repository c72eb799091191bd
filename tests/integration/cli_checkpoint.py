"""`rtrain checkpoint` against files that PyTorch, safetensors and Lightning write, and PyTorch against what it writes."""
import json, os, shutil, signal, subprocess, tempfile, time, unittest

from harness import BIN, main, skip

RTRAIN = os.path.join(BIN, "rtrain")
TORCH_PYTHON = os.environ.get("RTRAIN_TORCH_PYTHON", "")
if not TORCH_PYTHON or not os.path.exists(TORCH_PYTHON):
    skip("no Python of the LibTorch that this was built with (RTRAIN_TORCH_PYTHON)")

# Makes the files of the tests in the current folder, with one start of Python for all.
MAKE = r"""
import collections, json, os, pickle, zipfile, torch
from safetensors.torch import save_file
torch.manual_seed(1)
types = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
         torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu, torch.complex64]
base = torch.arange(24.).view(4, 6)
state = collections.OrderedDict((str(t).removeprefix("torch."), torch.tensor([[0, 1], [1, 2]]).to(t)) for t in types)
state.update(scalar=torch.tensor(3.5), empty=torch.zeros(0, 7), turned=base.t(), column=base[:, 2], tied=base, slice=base[1:3, 1:5:2],
             expanded=torch.tensor([1., 2.]).expand(3, 2), parameter=torch.nn.Parameter(torch.ones(2)))
state["größe/ünïcode"] = torch.ones(1)
torch.save(state, "state.pt")
torch.save(state, "protocol5.pt", pickle_protocol=5)
save_file({k: v.detach().contiguous().clone() for k, v in state.items()}, "state.safetensors", metadata={"format": "pt"})
module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
# as torch.optim.AdamW gives it, whose import takes seconds
optimizer = {"state": {i: {"step": torch.tensor(1.), "exp_avg": torch.rand_like(p), "exp_avg_sq": torch.rand_like(p)} for i, p in enumerate(module.parameters())},
             "param_groups": [{"lr": 0.01, "betas": (0.9, 0.999), "amsgrad": False, "foreach": None, "params": [0, 1, 2, 3]}]}
torch.save({"epoch": 1, "global_step": 7, "pytorch-lightning_version": "2.6.0", "state_dict": module.state_dict(), "loops": {"fit_loop": {"epoch_progress": {"total": {"ready": 2}}}},
            "callbacks": {"ModelCheckpoint{'monitor': 'v'}": {"best_model_score": torch.tensor(0.5), "dirpath": "x", "kth_value": float("inf")}},
            "optimizer_states": [optimizer], "lr_schedulers": [], "hyper_parameters": {"lr": 0.01, "sizes": (1, 2), "seen": {3}, "dtype": torch.bfloat16}}, "lightning.ckpt")
torch.save({"model": module.state_dict(), "optimizer": optimizer, "epoch": 3}, "plain.pth")
torch.save({"state_dict": module.state_dict(), "ema": {"model": {"module." + k: v * 2 for k, v in module.state_dict().items()}, "decay": 0.9}}, "ema.ckpt")
torch.save(torch.arange(3.), "tensor.pt")
module.double()
torch.save(module.state_dict(), "double.pt")
torch.save(state, "old.pt", _use_new_zipfile_serialization=False)
torch.save({"w": torch.ones(2, dtype=torch.complex128)}, "complex.pt")
os.mkdir("sharded")
save_file({"a": torch.ones(2), "b": torch.ones(3)}, "sharded/model-1.safetensors")
save_file({"c": torch.zeros(2)}, "sharded/model-2.safetensors")
json.dump({"weight_map": {"a": "model-1.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}}, open("sharded/model.safetensors.index.json", "w"))
# a checkpoint as Trainer writes it, reported
os.makedirs("reported/checkpoint.ckpt")
save_file({"w": torch.arange(4.)}, "reported/checkpoint.ckpt/model.safetensors", metadata={"format": "pt"})
save_file({"w.exp_avg": torch.ones(4)}, "reported/checkpoint.ckpt/optimizer.safetensors")
json.dump({"format": "rtrain-checkpoint", "version": 3, "epoch": 4, "global_step": 40, "world_size": 1, "progress": {}, "callbacks": {}, "module": {},
           "optimizers": [{"type": "AdamW", "groups": [{"name": "", "parameters": ["w"], "lr": 0.25}], "schedulers": [{"type": "StepLR"}]}]}, open("reported/checkpoint.ckpt/loop.json", "w"))

class Call:
    def __init__(self, function, *arguments): self.call = function, arguments
    def __reduce__(self): return self.call
def archive(name, pickled, more=()):
    with zipfile.ZipFile(name, "w") as file:
        for member, data in (("archive/data.pkl", pickled), ("archive/version", b"3\n"), ("archive/byteorder", b"little"), *more):
            file.writestr(member, data)
archive("system.pt", pickle.dumps({"state_dict": Call(os.system, "touch executed")}, protocol=2))
archive("eval.pt", pickle.dumps({"state_dict": Call(eval, "open('executed', 'w')")}, protocol=4))
archive("deep.pt", b"]" * 1000000 + b"a" * 999999 + b".")
archive("script.pt", b"}.", (("archive/constants.pkl", b")."),))
archive("cycle.pt", b"]q\x01h\x01a.")
archive("huge.pt", b"X\xff\xff\xff\xffx.")
laughs = b"]q\x00"
for level in range(1, 60):
    laughs += b"0](" + b"h%c" % (level - 1) * 20 + b"eq%c" % level
archive("laughs.pt", laughs + b".")
archive("storage.pt", b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu\x8a\x08" + b"\xff" * 7 + b"\x1ftQK\x00)" + b")\x89ccollections\nOrderedDict\n)RtR.")
with zipfile.ZipFile("packed.pt", "w", zipfile.ZIP_DEFLATED) as file:
    file.writestr("archive/data.pkl", b"N." * 100)
# 5 GiB of zeros, which take no room on the disk
with open("large.safetensors", "wb") as file:
    header = json.dumps({"w": {"dtype": "U8", "shape": [5 << 30], "data_offsets": [0, 5 << 30]}}).encode()
    file.write(len(header).to_bytes(8, "little") + header)
    file.truncate(8 + len(header) + (5 << 30))
"""


# One Python for all scripts, which come as lines of JSON: its start is what takes time.
SERVE = """
import contextlib, io, json, sys, traceback
for line in sys.stdin:
    script, sys.argv = json.loads(line)
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(script, {})
        print(json.dumps([True, out.getvalue()]), flush=True)
    except BaseException:
        print(json.dumps([False, traceback.format_exc()]), flush=True)
"""
FOLDER = tempfile.TemporaryDirectory(prefix="rtrain-checkpoint-")
PYTHON = subprocess.Popen([TORCH_PYTHON, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=FOLDER.name,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})


def torch(script, *arguments):
    """What the script prints."""
    PYTHON.stdin.write(json.dumps([script, ["", *arguments]]) + "\n")
    PYTHON.stdin.flush()
    fine, said = json.loads(PYTHON.stdout.readline())
    assert fine, said
    return said


def rtrain(*arguments):
    done = subprocess.run([RTRAIN, "checkpoint", *arguments], capture_output=True, text=True, timeout=60, cwd=FOLDER.name)
    return done.returncode, done.stdout, done.stderr


class Checkpoint(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch(MAKE)

    def run_ok(self, *arguments):
        status, out, err = rtrain(*arguments)
        self.assertEqual(status, 0, out + err)
        return out

    def document(self, *arguments):
        return json.loads(self.run_ok(*arguments, "-o", "json"))

    def refused(self, *arguments):
        """One sentence and status 1."""
        status, out, err = rtrain(*arguments)
        self.assertEqual(status, 1, out + err)
        self.assertTrue(err.startswith("error: "), err)
        self.assertEqual(len([line for line in err.splitlines() if not line.startswith("hint: ")]), 1, err)
        return err

    def path(self, name):
        return os.path.join(FOLDER.name, name)

    def test_files_of_pytorch_hold_what_safetensors_hold(self):
        for name in ("state.pt", "protocol5.pt"):
            self.assertEqual(self.document("diff", name, "state.safetensors")["tensors_same"], 26, name)
        tensors = {t["name"]: t for g in self.document("inspect", "state.pt")["groups"] for t in g["tensors"]}
        self.assertEqual(tensors["turned"], {"name": "turned", "dtype": "F32", "shape": [6, 4], "bytes": 96})
        self.assertEqual(tensors["float8_e5m2"]["dtype"], "F8_E5M2")

    def test_to_pytorch_and_back(self):
        for source, made in (("state.safetensors", "made.pt"), ("state.pt", "again.pth")):
            self.run_ok("convert", source, made)
            self.assertEqual(torch(r"""
import sys, torch
expected = torch.load("state.pt", weights_only=True)
for mmap in (False, True):
    read = torch.load(sys.argv[1], weights_only=True, mmap=mmap)
    assert set(read) == set(expected), set(read) ^ set(expected)
    for name, tensor in expected.items():
        other = read[name]
        assert other.dtype == tensor.dtype and other.shape == tensor.shape and other.is_contiguous(), name
        assert torch.equal(other.contiguous().view(-1).view(torch.uint8), tensor.detach().contiguous().view(-1).view(torch.uint8)), name
print(type(read).__name__)
""", made), "OrderedDict\n")
            self.run_ok("verify", made)
        self.run_ok("convert", "made.pt", "back.safetensors")
        self.assertEqual(torch(r"""
from safetensors.torch import load_file
import torch
a, b = load_file("state.safetensors"), load_file("back.safetensors")
print(a.keys() == b.keys() and all(torch.equal(a[k].view(torch.uint8) if a[k].dim() else a[k], b[k].view(torch.uint8) if b[k].dim() else b[k]) for k in a))
"""), "True\n")

    def test_a_checkpoint_of_lightning(self):
        shown = self.document("inspect", "lightning.ckpt")
        self.assertEqual((shown["epoch"], shown["global_step"], shown["lightning_version"]), (1, 7, "2.6.0"))
        self.assertEqual(shown["hyper_parameters"], {"lr": 0.01, "sizes": [1, 2], "seen": [3], "dtype": "torch.bfloat16"})
        self.assertEqual(shown["optimizers"], [{"type": None, "groups": 1, "lr": [0.01], "schedulers": []}])
        text = self.run_ok("inspect", "lightning.ckpt")
        self.assertIn("0.weight", text)
        self.assertIn("monitor", text)
        made = self.document("convert", "lightning.ckpt", "weights")
        self.assertEqual(made["files"], ["model.safetensors", "rest.safetensors", "rest.json", "checksums.json"])
        self.assertEqual(made["not_plain"], ["hyper_parameters.seen is a set"])
        self.assertEqual(torch(r"""
import json, torch
from safetensors.torch import load_file
full, rest = torch.load("lightning.ckpt", weights_only=True), load_file("weights/rest.safetensors")
weights = load_file("weights/model.safetensors")
assert weights.keys() == full["state_dict"].keys() and all(torch.equal(weights[k], v) for k, v in full["state_dict"].items())
assert torch.equal(rest["optimizer_states.0.state.0.exp_avg"], full["optimizer_states"][0]["state"][0]["exp_avg"])
plain = json.load(open("weights/rest.json"))
assert "state_dict" not in plain and plain["optimizer_states"][0]["param_groups"][0]["lr"] == 0.01
print(plain["callbacks"]["ModelCheckpoint{'monitor': 'v'}"]["best_model_score"])
"""), "{'$tensor': \"callbacks.ModelCheckpoint{'monitor': 'v'}.best_model_score\"}\n")
        self.run_ok("verify", "weights")
        self.assertTrue(self.document("diff", "lightning.ckpt", "weights")["same"])
        self.assertEqual(self.document("inspect", "weights")["epoch"], 1)
        self.assertEqual(len(self.document("inspect", "plain.pth")["groups"][0]["tensors"]), 7)
        self.assertEqual(self.document("inspect", "tensor.pt")["groups"][0]["tensors"][0]["shape"], [3])

    def test_which_weights_and_under_which_names(self):
        self.run_ok("convert", "ema.ckpt", "ema.safetensors", "--key", "ema.model", "--prefix-strip", "module.")
        self.assertEqual(torch("""
import torch
from safetensors.torch import load_file
full, made = torch.load("ema.ckpt", weights_only=True), load_file("ema.safetensors")
print(made.keys() == full["state_dict"].keys(), all(torch.equal(made[k], v) for k, v in ((k.removeprefix("module."), v) for k, v in full["ema"]["model"].items())))
"""), "True True\n")
        status, _, err = rtrain("convert", "ema.ckpt", "ema.pt", "--prefix-strip", "0.")
        self.assertEqual(status, 0, err)
        self.assertIn("5 names did not have the prefix", err)
        for words, said in ((["--key", "ema"], "state_dict"), (["--prefix-strip", "nothing"], "no name"), (["--prefix-strip", "0.weight"], "no name would be left")):
            status, _, err = rtrain("convert", "ema.ckpt", "refused.pt", *words)
            self.assertEqual(status, 2, err)
            self.assertIn(said, err)
        self.assertFalse(os.path.exists(self.path("refused.pt")))
        self.assertEqual(rtrain("convert", "state.safetensors", "refused.pt", "--key", "state_dict")[0], 2)

    def test_into_a_folder(self):
        os.mkdir(self.path("there"))
        for source, out, files in (("plain.pth", "there", 4), ("state.safetensors", "made/", 2), ("reported", "bare/", 2)):
            self.assertEqual(len(self.document("convert", source, out)["files"]), files)
            self.run_ok("verify", out)
        self.assertTrue(self.document("diff", "made", "state.safetensors")["same"])
        self.assertEqual(rtrain("convert", "plain.pth", "there")[0], 2)
        self.assertEqual(rtrain("convert", "plain.pth", "other/", "--to", "pt")[0], 2)

    def test_a_checkpoint_of_rtrain(self):
        for path in ("reported", "reported/checkpoint.ckpt/"):
            shown = self.document("inspect", path)
            self.assertEqual((shown["kind"], shown["epoch"], shown["global_step"], shown["version"]), ("rtrain", 4, 40, 3))
            self.assertEqual(shown["optimizers"], [{"type": "AdamW", "groups": 1, "lr": [0.25], "schedulers": ["StepLR"]}])
        self.assertIn("AdamW, 1 group with lr 0.25, StepLR", self.run_ok("inspect", "reported"))
        self.run_ok("verify", "reported")
        self.run_ok("convert", "reported", "reported.pt")
        self.assertEqual(torch("import torch; print(torch.load('reported.pt', weights_only=True)['w'].tolist())"), "[0.0, 1.0, 2.0, 3.0]\n")
        status, _, err = rtrain("convert", "reported", "reported.pt")
        self.assertEqual(status, 2)
        self.assertIn("left alone", err)

    def test_shards(self):
        self.assertEqual(len(self.document("inspect", "sharded")["groups"]), 2)
        self.run_ok("verify", "sharded")
        self.run_ok("convert", "sharded/model.safetensors.index.json", "whole.safetensors")
        self.assertEqual(self.document("diff", "sharded", "whole.safetensors")["tensors_same"], 3)
        self.assertEqual(rtrain("diff", "sharded", "whole.safetensors")[0], 0)

    def test_one_file_and_several(self):
        made = self.document("reshard", "state.safetensors", "parts/", "--max-shard-size", "100")
        self.assertEqual(made["tensors"], 26)
        self.assertGreater(made["files"], 3)
        self.run_ok("verify", "parts")
        self.assertTrue(self.document("diff", "parts", "state.safetensors")["tensors_same"], 26)
        self.assertIn("26 tensors in 1 file\n", self.run_ok("merge", "parts/model.safetensors.index.json", "merged.safetensors"))
        # Python reads both, by the index as its libraries do.
        self.assertEqual(torch(r"""
import json, torch
from safetensors.torch import load_file
whole, merged = load_file("state.safetensors"), load_file("merged.safetensors")
index = json.load(open("parts/model.safetensors.index.json"))
parts = {name: load_file("parts/" + file)[name] for name, file in index["weight_map"].items()}
assert index["metadata"]["total_size"] == sum(t.numel() * t.element_size() for t in whole.values())
files = sorted(set(index["weight_map"].values()))
assert files == [f"model-{i + 1:05}-of-{len(files):05}.safetensors" for i in range(len(files))], files
same = lambda a, b: a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
print(all(whole.keys() == other.keys() and all(same(whole[k], other[k]) for k in whole) for other in (merged, parts)))
"""), "True\n")
        # Small enough for one file: no index.
        self.assertEqual(self.document("reshard", "state.safetensors", "small/")["files"], 1)
        self.assertEqual(sorted(os.listdir(self.path("small"))), ["checksums.json", "model.safetensors"])

    def test_a_checkpoint_of_rtrain_in_several_files(self):
        torch(r"""
import shutil, torch
from safetensors.torch import save_file
shutil.copytree("reported/checkpoint.ckpt", "two")
save_file({"w": torch.arange(4.), "v": torch.ones(4)}, "two/model.safetensors")
""")
        self.assertEqual(self.document("reshard", "two", "several", "--max-shard-size", "16")["files"], 2)
        self.assertEqual(sorted(os.listdir(self.path("several"))),
                         ["checksums.json", "loop.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                          "model.safetensors.index.json", "optimizer.safetensors"])
        shown = self.document("inspect", "several")
        self.assertEqual((shown["kind"], shown["epoch"]), ("rtrain", 4))
        self.run_ok("verify", "several")
        self.assertTrue(self.document("diff", "two", "several")["same"])
        self.run_ok("convert", "several", "several.pt")
        self.run_ok("merge", "several", "again/")
        self.assertTrue(self.document("diff", "two", "again")["same"])
        self.assertEqual(sorted(os.listdir(self.path("again"))), ["checksums.json", "loop.json", "model.safetensors", "optimizer.safetensors"])
        os.remove(self.path("several/model-00002-of-00002.safetensors"))
        self.assertRegex(rtrain("verify", "several")[1], r"damaged +model-00002-of-00002.safetensors")

    def test_no_copy_is_made_of_what_is_damaged(self):
        def refused(why):
            for arguments in (("merge", "source", "copy.safetensors"), ("reshard", "source", "copy/"), ("convert", "source", "copy.pt")):
                self.assertIn(why, self.refused(*arguments))
            self.assertEqual([name for name in os.listdir(FOLDER.name) if name.startswith(("copy", ".copy"))], [])
            self.assertEqual(rtrain("verify", "source")[0], 1)

        self.run_ok("reshard", "state.safetensors", "source/", "--max-shard-size", "100")
        first, index = self.path("source/model-00001-of-%05d.safetensors" % (len(os.listdir(self.path("source"))) - 2)), self.path("source/model.safetensors.index.json")
        with open(first, "r+b") as file:
            sound = file.read()
            file.seek(-1, os.SEEK_END)
            file.write(bytes([sound[-1] ^ 1]))
        refused("was changed: CRC-32C")
        with open(first, "wb") as file:
            file.write(sound)
        os.remove(self.path("source/checksums.json"))
        with open(index) as file:
            text = file.read()
        known = json.loads(text)
        name = next(tensor for tensor, shard in known["weight_map"].items() if first.endswith(shard))
        for change, why in (({"ghost": known["weight_map"][name]}, 'lacks "ghost", which the index has there'), ({name: None}, "which the index has not there")):
            weight_map = {tensor: shard for tensor, shard in {**known["weight_map"], **change}.items() if shard}
            with open(index, "w") as file:
                json.dump({**known, "weight_map": weight_map}, file)
            refused(why)
        os.remove(index)
        refused("-of-")
        os.mkfifo(index)
        self.assertIn("is no file that can be read", self.refused("inspect", "source"))
        # An index of another name is the one that is read.
        os.remove(index)
        with open(self.path("source/other.safetensors.index.json"), "w") as file:
            file.write(text)
        self.assertEqual(self.document("merge", "source/other.safetensors.index.json", "by-name.safetensors")["tensors"], 26)

    def test_nothing_is_left_out_without_a_word(self):
        torch(r"""
import os, shutil, torch
from safetensors.torch import save_file
shutil.copytree("reported", "rich")
save_file({"w": torch.arange(4.), "v": torch.ones(4)}, "rich/checkpoint.ckpt/model.safetensors", metadata={"format": "pt", "run": "7"})
os.makedirs("rich/checkpoint.ckpt/tokens/deep")
open("rich/checkpoint.ckpt/tokens/deep/vocab.txt", "w").write("words")
open("rich/notes.txt", "w").write("mine")
""")
        done = subprocess.run([RTRAIN, "checkpoint", "reshard", "rich", "rich-parts/", "--max-shard-size", "16"], capture_output=True, text=True, cwd=FOLDER.name)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("not written: notes.txt, which is beside", done.stderr)
        with open(self.path("rich-parts/tokens/deep/vocab.txt")) as file:
            self.assertEqual(file.read(), "words")
        self.run_ok("verify", "rich-parts")
        self.assertEqual(torch("from safetensors import safe_open; print(safe_open('rich-parts/model-00002-of-00002.safetensors', 'pt').metadata() == {'format': 'pt', 'run': '7'})"), "True\n")
        done = subprocess.run([RTRAIN, "checkpoint", "merge", "rich", "rich.safetensors"], capture_output=True, text=True, cwd=FOLDER.name)
        self.assertIn("not written: 1 tensors of optimizer.safetensors", done.stderr)
        # OUT below IN, and a link to a folder around it.
        os.symlink("..", self.path("rich/checkpoint.ckpt/tokens/up"))
        self.run_ok("merge", "rich/checkpoint.ckpt", "rich/checkpoint.ckpt/inner/")
        self.assertEqual(sorted(os.listdir(self.path("rich/checkpoint.ckpt/inner"))), ["checksums.json", "loop.json", "model.safetensors", "optimizer.safetensors", "tokens"])
        self.assertEqual(os.listdir(self.path("rich/checkpoint.ckpt/inner/tokens")), ["deep"])
        os.mkfifo(self.path("rich/checkpoint.ckpt/pipe"))
        self.assertIn("pipe: not a regular file", self.refused("merge", "rich", "rich-again/"))
        for name in ("loop.json", "checksums.json"):
            if os.path.exists(self.path("rich-parts/" + name)):
                os.remove(self.path("rich-parts/" + name))
            os.mkfifo(self.path("rich-parts/" + name))
            self.assertIn(name + ": not a regular file", self.refused("merge", "rich-parts", "rich-again/"))
            os.remove(self.path("rich-parts/" + name))
            shutil.copy(self.path("reported/checkpoint.ckpt/loop.json"), self.path("rich-parts/loop.json"))

    def test_more_files_than_may_be_open(self):
        torch(r"""
import torch
from safetensors.torch import save_file
save_file({f"w{i}": torch.ones(4) for i in range(200)}, "many.safetensors")
""")
        limited = lambda *arguments: subprocess.run(["bash", "-c", 'ulimit -Sn 40; exec "$@"', "bash", RTRAIN, "checkpoint", *arguments],
                                                    capture_output=True, text=True, cwd=FOLDER.name)
        self.run_ok("reshard", "many.safetensors", "many/", "--max-shard-size", "16")
        for arguments in (("verify", "many"), ("merge", "many", "few.safetensors")):
            done = limited(*arguments)
            self.assertEqual(done.returncode, 0, done.stdout[-500:] + done.stderr)

    def test_ctrl_c_leaves_nothing(self):
        for arguments in (("reshard", "large.safetensors", "stopped/"), ("merge", "large.safetensors", "stopped.safetensors"),
                          ("convert", "large.safetensors", "stopped.pt")):
            process = subprocess.Popen([RTRAIN, "checkpoint", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=FOLDER.name)
            while not any("stopped" in name for name in os.listdir(FOLDER.name)):
                self.assertIsNone(process.poll())
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            self.assertEqual((process.communicate(timeout=30)[1], process.returncode), ("", 130))
            self.assertEqual([name for name in os.listdir(FOLDER.name) if "stopped" in name], [])

    def test_two_sets_of_weights_in_one_folder(self):
        torch(r"""
import shutil, torch
from safetensors.torch import save_file
shutil.copytree("reported/checkpoint.ckpt", "before")
save_file({"w": torch.arange(4.), "v": torch.ones(4)}, "before/model.safetensors")
""")
        self.run_ok("reshard", "before", "both", "--max-shard-size", "16")
        shutil.copy(self.path("before/model.safetensors"), self.path("both"))
        self.assertRegex(rtrain("verify", "both")[1], r"damaged +model.safetensors +is beside model.safetensors.index.json, which does not name it")
        self.assertIn("does not name it", self.refused("merge", "both", "one/"))

    def test_diff_tells_what_and_how_far(self):
        torch(r"""
from safetensors.torch import save_file
import torch
save_file({"same": torch.ones(2), "far": torch.tensor([1., 2.]), "type": torch.ones(2), "shape": torch.ones(2), "mine": torch.ones(1)}, "a.safetensors")
save_file({"same": torch.ones(2), "far": torch.tensor([1., 2.5]), "type": torch.ones(2).half(), "shape": torch.ones(3), "yours": torch.ones(1)}, "b.safetensors")
""")
        status, out, err = rtrain("diff", "a.safetensors", "b.safetensors", "-o", "json")
        self.assertEqual(status, 1, err)
        found = {entry["name"]: entry for entry in json.loads(out)["differences"]}
        self.assertEqual({name: entry["what"] for name, entry in found.items()},
                         {"far": "numbers", "type": "dtype", "shape": "shape", "mine": "only in a", "yours": "only in b"})
        self.assertEqual((found["far"]["differing"], found["far"]["max_abs"], found["far"]["max_rel"]), (1, 0.5, 0.2))
        self.assertEqual(found["type"]["differing"], 0)
        status, out, err = rtrain("diff", "a.safetensors", "b.safetensors")
        self.assertEqual(status, 1)
        self.assertIn("1 tensors are the same, 5 differ", err)
        for tolerance, far in ((["--atol", "0.5"], False), (["--rtol", "0.2"], False), (["--atol", "0.4", "--rtol", "0.1"], True)):
            status, out, err = rtrain("diff", "a.safetensors", "b.safetensors", "-o", "json", *tolerance)
            self.assertEqual(status, 1, err)
            self.assertEqual("far" in [entry["name"] for entry in json.loads(out)["differences"]], far, tolerance)
        for text in ("-1", "nan", "x"):
            self.assertEqual(rtrain("diff", "a.safetensors", "b.safetensors", "--rtol", text)[0], 2)
        status, out, _ = rtrain("diff", "double.pt", "plain.pth")
        self.assertEqual(status, 1)
        self.assertIn("dtype", out)

    def test_damage_is_found_and_named(self):
        self.run_ok("convert", "plain.pth", "sound")
        self.run_ok("verify", "sound")
        path = self.path("sound/model.safetensors")
        with open(path, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last[0] ^ 1]))
        status, out, _ = rtrain("verify", "sound")
        self.assertEqual(status, 1)
        self.assertRegex(out, r"damaged +model.safetensors +was changed: CRC-32C")
        self.assertRegex(out, r"ok +rest.safetensors")
        os.truncate(path, os.path.getsize(path) - 1)
        status, out, _ = rtrain("verify", "sound", "-o", "json")
        self.assertEqual(status, 1)
        damaged = [file for file in json.loads(out)["files"] if file["status"] == "damaged"]
        self.assertEqual([file["file"] for file in damaged], ["model.safetensors"])
        self.assertIn("ends too early", damaged[0]["problems"][0])
        os.remove(path)
        self.assertRegex(rtrain("verify", "sound")[1], r"damaged +model.safetensors +no such file")

        with open(self.path("plain.pth"), "rb") as file:
            data = bytearray(file.read())
        data[data.index(b"exp_avg_sq")] ^= 1
        with open(self.path("changed.pth"), "wb") as file:
            file.write(data)
        status, out, _ = rtrain("verify", "changed.pth")
        self.assertEqual(status, 1)
        self.assertIn("data.pkl", out)
        with open(self.path("cut.pth"), "wb") as file:
            file.write(data[:len(data) // 2])
        self.assertIn("was cut", self.refused("inspect", "cut.pth"))
        shutil.copytree(self.path("reported/checkpoint.ckpt"), self.path("without"))
        os.remove(self.path("without/optimizer.safetensors"))
        self.assertRegex(rtrain("verify", "without")[1], r"damaged +optimizer.safetensors +is missing")

    def test_hostile_files_are_refused_and_not_executed(self):
        for name, word in (("system.pt", "posix.system"), ("eval.pt", "builtins.eval"), ("deep.pt", "nested deeper"), ("cycle.pt", "holds itself"),
                           ("huge.pt", "ends within"), ("laughs.pt", "unfolds"), ("storage.pt", "not in the archive"), ("packed.pt", "compressed"),
                           ("old.pt", "before 1.6"), ("script.pt", "TorchScript")):
            for action in (["inspect", name], ["convert", name, "out-of-" + name.split(".")[0]], ["diff", name, "state.pt"]):
                with self.subTest(action=action):
                    self.assertIn(word, self.refused(*action))
            self.assertEqual(rtrain("verify", name)[0], 1)
        self.assertFalse(os.path.exists(self.path("executed")))
        self.assertIn("complex128", self.refused("convert", "complex.pt", "complex"))
        self.assertFalse(any(name.startswith((".complex", "out-of-")) for name in os.listdir(FOLDER.name)))

    def test_usage(self):
        self.assertEqual(rtrain("inspect", "nothing")[0], 3)
        for words in (["look", "x"], ["inspect", "a", "b"], ["diff", "a"], ["inspect", "state.pt", "--to", "pt"], ["convert", "state.pt", "x", "--to", "onnx"],
                      ["convert", "reported", "x"], ["convert", "reported", "x", "--to", "safetensors"], ["merge", "sharded"], ["merge", "sharded", "sharded"],
                      ["merge", "state.pt", "x.safetensors"], ["merge", "sharded", "x", "--max-shard-size", "1GB"], ["reshard", "sharded", "x", "--max-shard-size", "0"]):
            self.assertEqual(rtrain(*words)[0], 2, words)

    def test_files_over_4_gib(self):
        if os.environ.get("RTRAIN_LARGE_FILES") != "1":
            self.skipTest("writes 5 GiB: RTRAIN_LARGE_FILES=1")
        self.run_ok("convert", "large.safetensors", "large.pt")
        self.assertEqual(torch("import torch; w = torch.load('large.pt', weights_only=True, mmap=True)['w']; print(w.shape, int(w[-1]))"), "torch.Size([5368709120]) 0\n")
        self.assertEqual(self.document("inspect", "large.pt")["groups"][0]["tensors"][0]["bytes"], 5 << 30)


if __name__ == "__main__":
    try:
        main()
    finally:
        PYTHON.communicate()
        FOLDER.cleanup()
