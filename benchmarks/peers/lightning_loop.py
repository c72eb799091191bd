"""benchmarks/loop_overhead.cpp under Lightning: microseconds a step of a model that does nothing. A peer of benchmarks/loop_overhead.py.

lightning_loop.py STEPS FOLDER
"""
import json
import logging
import sys
import time
import warnings

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

SAMPLES, BATCH, WARM = 4096, 8, 500
STEPS, FOLDER = int(sys.argv[1]), sys.argv[2]
warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Nothing(pl.LightningModule):
    def __init__(self, logs):
        super().__init__()
        self.logs = logs
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        loss = self.weight.sum()
        if self.logs:
            self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class Clock(pl.Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == WARM:
            self.begin = time.perf_counter()

    def on_train_end(self, trainer, module):
        self.seconds = time.perf_counter() - self.begin


def measure(logs):
    clock = Clock()
    data = TensorDataset(torch.zeros(SAMPLES, 4), torch.zeros(SAMPLES, dtype=torch.int64))
    trainer = pl.Trainer(max_epochs=-1, max_steps=WARM + STEPS, accelerator="cpu", devices=1, callbacks=[clock], logger=CSVLogger(FOLDER) if logs else False,
                         enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.fit(Nothing(logs), DataLoader(data, batch_size=BATCH, drop_last=True))
    return clock.seconds / STEPS * 1e6


torch.set_num_threads(1)
print(json.dumps({"lightning_us": [measure(False)], "lightning_logging_us": [measure(True)]}))
