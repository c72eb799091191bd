"""Writes the golden hook orders of this folder: what Lightning 2.6 calls, in its order, callbacks ("callback.") and module ("module.").
Needs `pip install lightning==2.6.6 torch==2.11.0`; run it in this folder when a scenario is added. tests/unit/worker/trainer compares rtrain's own order with it."""
import logging, shutil, tempfile, warnings
import torch, lightning.pytorch as pl
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

STAGES = ["train", "validation", "test", "predict"]
SHARED = ["setup", "teardown", "on_fit_start", "on_fit_end", "on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step",
          "on_save_checkpoint", "on_load_checkpoint"]
for s in STAGES:
    SHARED += [f"on_{s}_start", f"on_{s}_end", f"on_{s}_epoch_start", f"on_{s}_epoch_end", f"on_{s}_batch_start", f"on_{s}_batch_end"]
CALLBACK = SHARED + ["on_sanity_check_start", "on_sanity_check_end", "state_dict", "load_state_dict", "on_exception"]
MODULE = SHARED + ["prepare_data", "configure_model", "configure_optimizers", "training_step", "validation_step", "test_step", "predict_step",
                   "on_validation_model_zero_grad", "on_validation_model_eval", "on_validation_model_train", "on_test_model_eval", "on_test_model_train",
                   "on_predict_model_eval", "on_predict_model_train", "on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer"]

def traced(base, names, prefix, lines):
    """A subclass of `base` that notes each call of a hook, then does what base does."""
    def make(name):
        parent = getattr(base, name)
        def hook(self, *args, **kwargs):
            lines.append(f"{prefix}.{name}")
            return parent(self, *args, **kwargs)
        return hook
    return type(base.__name__, (base,), {n: make(n) for n in names if hasattr(base, n)})

class Model(BoringModel):
    def train_dataloader(self): return torch.utils.data.DataLoader(RandomDataset(32, 64))
    def val_dataloader(self): return torch.utils.data.DataLoader(RandomDataset(32, 64))
    test_dataloader = predict_dataloader = val_dataloader

def scenario(name, run, model=Model, callback=pl.Callback, **options):
    lines = []
    defaults = dict(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu", devices=1)
    callbacks = options.pop("callbacks", [])
    trainer = pl.Trainer(**(defaults | options), callbacks=[traced(callback, CALLBACK, "callback", lines)(), *callbacks])
    m = traced(model, MODULE, "module", lines)()
    keep = run(trainer, m, lines)
    with open(f"{name}.txt", "w") as out:
        out.write("\n".join(lines) + "\n")
    print(name, len(lines), keep or "")

def fit(trainer, m, lines): trainer.fit(m)

scenario("fit", fit, max_epochs=2, limit_train_batches=2, limit_val_batches=1, num_sanity_val_steps=1)
scenario("fit_without_validation", fit, limit_train_batches=2, limit_val_batches=0)
scenario("fit_accumulate", fit, limit_train_batches=3, limit_val_batches=0, accumulate_grad_batches=2)
scenario("fit_val_check_interval", fit, limit_train_batches=4, limit_val_batches=1, val_check_interval=2, num_sanity_val_steps=0)
scenario("fit_check_val_every_2_epochs", fit, max_epochs=2, limit_train_batches=1, limit_val_batches=1, check_val_every_n_epoch=2, num_sanity_val_steps=0)
scenario("fit_max_steps", fit, max_epochs=-1, max_steps=3, limit_train_batches=2, limit_val_batches=1, num_sanity_val_steps=0)
scenario("validate", lambda t, m, l: t.validate(m, verbose=False) and None, limit_val_batches=2)
scenario("test", lambda t, m, l: t.test(m, verbose=False) and None, limit_test_batches=2)
scenario("predict", lambda t, m, l: t.predict(m) and None, limit_predict_batches=2)

class Stops(pl.Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if batch_idx == 1: trainer.should_stop = True
scenario("fit_should_stop", fit, callback=Stops, max_epochs=2, limit_train_batches=4, limit_val_batches=1, num_sanity_val_steps=0)

class SkipsEpoch(Model):
    def on_train_batch_start(self, batch, batch_idx): return -1 if batch_idx == 1 else None
scenario("fit_skip_rest_of_epoch", fit, model=SkipsEpoch, max_epochs=2, limit_train_batches=3, limit_val_batches=0)

class ReturnsNone(Model):
    def training_step(self, batch, batch_idx): return None
scenario("fit_no_loss", fit, model=ReturnsNone, limit_train_batches=1, limit_val_batches=0)

class Raises(Model):
    def training_step(self, batch, batch_idx): raise ValueError("broken")
def fit_raises(trainer, m, lines):
    try: trainer.fit(m)
    except ValueError: pass
scenario("fit_exception", fit_raises, model=Raises, limit_train_batches=1, limit_val_batches=0)

def saver(hook, at):
    """Saves a checkpoint in `hook` when global_step is `at`."""
    path = tempfile.mktemp()
    def save(self, trainer, *args):
        if trainer.global_step == at and not trainer.sanity_checking: trainer.save_checkpoint(path)
    return type("Saves", (pl.Callback,), {hook: save}), path

for name, hook, at in [("at_batch_end", "on_train_batch_end", 1), ("at_epoch_end", "on_train_epoch_end", 2), ("at_validation_end", "on_validation_end", 2)]:
    callback, path = saver(hook, at)
    options = dict(max_epochs=2, limit_train_batches=2, limit_val_batches=1, num_sanity_val_steps=1)
    scenario(f"fit_saving_{name}", fit, callback=callback, **options)
    scenario(f"fit_resume_{name}", lambda t, m, l: t.fit(m, ckpt_path=path, weights_only=False), **options)
