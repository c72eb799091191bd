"""A PyTorch script that knows nothing of rtrain, as a command job: torch.distributed over Gloo under the torchrun environment."""
import os, unittest

from harness import Cluster, main, skip

PYTHON = os.environ.get("RTRAIN_TORCH_PYTHON", "")
SCRIPT = """
import torch, torch.distributed as dist
dist.init_process_group("gloo")
value = torch.full((3,), float(dist.get_rank() + 1))
dist.all_reduce(value)
print("rank", dist.get_rank(), "of", dist.get_world_size(), value.tolist())
dist.destroy_process_group()
"""


class TorchScript(unittest.TestCase):
    def test_two_workers_on_two_nodes_reduce(self):
        cluster = Cluster(agents=("a", "b"))
        self.addCleanup(cluster.stop)
        doc = cluster.run([PYTHON, "-u", cluster.write("script.py", SCRIPT)], seconds=90, workers=2, strategy="STRICT_SPREAD")
        self.assertEqual(doc["state"], "SUCCEEDED", doc["error"])
        for rank in range(2):
            self.assertIn("rank %d of 2 [3.0, 3.0, 3.0]\n" % rank, cluster.log_of(doc["id"], rank))


if __name__ == "__main__":
    if not os.access(PYTHON, os.X_OK):
        skip("no Python with PyTorch (RTRAIN_TORCH_PYTHON)")
    main()
