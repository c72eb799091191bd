# weights under EMA and SWA, learning rates of SWA, of a finetuned backbone and of the finder: a run of Lightning in float64
from common import *
from lightning.pytorch.callbacks import *
f=out("averaging.txt")
def show(ts): return " ".join(f"{v:.15g}" for t in ts for v in t.detach().flatten().double().tolist())
class M(Lin):
    def __init__(self): super().__init__(); self.lines=[]
    def training_step(self,b,i): l=self.loss(b); return l
    def validation_step(self,b,i): self.lines.append(f"validation {self.current_epoch} {show(self.parameters())}")
    def on_train_epoch_end(self): self.lines.append(f"epoch {self.current_epoch} lr {self.trainer.optimizers[0].param_groups[0]['lr']:.15g} {show(self.parameters())}")
class Sched(M):
    def configure_optimizers(self): o=torch.optim.SGD(self.parameters(),lr=.1); return [o],[torch.optim.lr_scheduler.StepLR(o,1,.5)]
class Norm(M):
    def __init__(self):
        super().__init__(); self.bn=torch.nn.BatchNorm1d(4).double()
    def loss(self,b): x,y=b; return torch.nn.functional.mse_loss(self.layer(self.bn(x)),y)
def run(title,m,c,**k):
    t=trainer(**{**dict(max_epochs=4,callbacks=[c],num_sanity_val_steps=0),**k}); t.fit(m,loader(12,4),loader(4,4))
    f.write(f"== {title}\n"+"".join(f"  {l}\n" for l in m.lines)+f"  end {show(m.parameters())}\n"+(f"  buffers {show(m.buffers())}\n" if list(m.buffers()) else "")); return t
run("ema .9",M(),EMAWeightAveraging(decay=.9)); run("ema .9 every 2 from 3",M(),EMAWeightAveraging(decay=.9,update_every_n_steps=2,update_starting_at_step=3)); run("ema .9 from epoch 1",M(),EMAWeightAveraging(decay=.9,update_starting_at_step=1000,update_starting_at_epoch=1)); run("ema .9 batch norm",Norm(),EMAWeightAveraging(decay=.9)); run("ema .9 accumulate 2",M(),EMAWeightAveraging(decay=.9),accumulate_grad_batches=2)
run("mean of all",M(),WeightAveraging())
run("swa .05 from 2",M(),StochasticWeightAveraging(.05,swa_epoch_start=2,annealing_epochs=2)); run("swa linear, half",Sched(),StochasticWeightAveraging(.05,swa_epoch_start=.5,annealing_epochs=3,annealing_strategy="linear"),max_epochs=6); run("swa batch norm",Norm(),StochasticWeightAveraging(.05,swa_epoch_start=2,annealing_epochs=2))
# finetuning: learning rates of the groups and which parameters train, epoch by epoch
class B(Lin):
    def __init__(self):
        super().__init__(); self.backbone=torch.nn.Sequential(torch.nn.Linear(4,4),torch.nn.BatchNorm1d(4)).double(); self.lines=[]
        with torch.no_grad(): self.backbone[0].weight.copy_(det(4,4,salt=7)); self.backbone[0].bias.copy_(det(4,salt=9))
    def loss(self,b): x,y=b; return torch.nn.functional.mse_loss(self.layer(self.backbone(x)),y)
    def training_step(self,b,i):
        if i==0: self.lines.append(f"epoch {self.current_epoch} lr [{', '.join(format(g['lr'],'.15g') for g in self.trainer.optimizers[0].param_groups)}] sizes {[len(g['params']) for g in self.trainer.optimizers[0].param_groups]} trains {[int(p.requires_grad) for p in self.parameters()]}")
        return self.loss(b)
    def configure_optimizers(self): return torch.optim.SGD([p for p in self.parameters() if p.requires_grad],lr=.1)
def fine(title,c,**k):
    m=B(); t=trainer(**{**dict(max_epochs=6,callbacks=[c]),**k}); t.fit(m,loader(12,4)); f.write(f"== {title}\n"+"".join(f"  {l}\n" for l in m.lines)+f"  end {show(m.parameters())}\n")
fine("backbone at 2",BackboneFinetuning(2)); fine("backbone at 1, ratio .5, no bn",BackboneFinetuning(1,lambda e:1.5,backbone_initial_ratio_lr=.5,initial_denom_lr=4.,train_bn=False)); fine("backbone at 1, lr .01, no align",BackboneFinetuning(1,backbone_initial_lr=.01,should_align=False),max_epochs=7)
# the finder
class R(Lin):
    def configure_optimizers(self): return torch.optim.SGD(self.parameters(),lr=.1)
def find(title,k,tr={},m=None):
    c=LearningRateFinder(**k); m=m or R(); w=show(m.parameters()); t=trainer(max_epochs=40,callbacks=[c],**tr)
    c._update_attr=False
    t.fit(m,loader(20,4)); r=c.optimal_lr
    f.write(f"== finder {title}\n  lr {' '.join(format(v,'.15g') for v in r.results['lr'])}\n  loss {' '.join(format(v,'.15g') for v in r.results['loss'])}\n  suggestion {r.suggestion()}\n")
find("40 to 1",dict(min_lr=1e-4,max_lr=1.,num_training_steps=40,early_stop_threshold=None)); find("linear 25",dict(min_lr=1e-3,max_lr=.5,num_training_steps=25,mode="linear",early_stop_threshold=None)); find("stops early",dict(min_lr=1e-3,max_lr=1e3,num_training_steps=60)); find("accumulate 2",dict(min_lr=1e-4,max_lr=1.,num_training_steps=20,early_stop_threshold=None),dict(accumulate_grad_batches=2))
