"""Every torch.optim.lr_scheduler over 14 steps: two groups with the learning rates 1 and 0.5, momentum 0.9. Rates are written
with all their digits. Made with torch 2.11.0."""
import torch
import torch.optim.lr_scheduler as S
from common import out
from torch.optim.swa_utils import SWALR

f = out("lr_schedulers.txt")


def run(title, make, n=14, metrics=None, epochs=None):
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))]}, {"params": [torch.nn.Parameter(torch.ones(1))], "lr": .5}]
    optimizer = torch.optim.SGD(groups, lr=1., momentum=.9)
    try:
        scheduler = make(optimizer)
    except Exception as e:
        f.write(f"== {title}: {type(e).__name__}: {str(e)[:160]}\n")
        return
    rates = [[group["lr"] for group in optimizer.param_groups]]
    momenta = [optimizer.param_groups[0]["momentum"]]
    fault = None
    for k in range(n):
        optimizer.step()
        try:
            if metrics is not None:
                scheduler.step(metrics[k % len(metrics)])
            elif epochs is not None:
                scheduler.step(epochs[k % len(epochs)])
            else:
                scheduler.step()
        except Exception as e:
            fault = f"  step {k}: {type(e).__name__}: {str(e)[:120]}\n"
            break
        rates.append([group["lr"] for group in optimizer.param_groups])
        momenta.append(optimizer.param_groups[0]["momentum"])
    f.write(f"== {title}\n")
    for group in range(2):
        f.write(f"  group{group} {' '.join(repr(float(rate[group])) for rate in rates)}\n")
    if len(set(momenta)) > 1:
        f.write(f"  momentum {' '.join(repr(float(momentum)) for momentum in momenta)}\n")
    if fault:
        f.write(fault)
    state = scheduler.state_dict()
    f.write(f"  state last_epoch={state.get('last_epoch')} last_lr={state['_last_lr']}\n")


run("LambdaLR .95^e, 1/(1+e)", lambda o: S.LambdaLR(o, [lambda e: .95**e, lambda e: 1 / (1 + e)]))
run("MultiplicativeLR .95", lambda o: S.MultiplicativeLR(o, lambda e: .95))
run("StepLR 3 .1", lambda o: S.StepLR(o, 3))
run("MultiStepLR [2,5,5] .5", lambda o: S.MultiStepLR(o, [2, 5, 5], .5))
run("ConstantLR 1/3 5", lambda o: S.ConstantLR(o))
run("LinearLR", lambda o: S.LinearLR(o))
run("LinearLR .1 .7 4", lambda o: S.LinearLR(o, .1, .7, 4))
run("ExponentialLR .9", lambda o: S.ExponentialLR(o, .9))
run("PolynomialLR 5", lambda o: S.PolynomialLR(o))
run("PolynomialLR 6 2", lambda o: S.PolynomialLR(o, 6, 2.))
run("CosineAnnealingLR 5 .1", lambda o: S.CosineAnnealingLR(o, 5, .1))
run("CosineAnnealingWarmRestarts 3 2 .1", lambda o: S.CosineAnnealingWarmRestarts(o, 3, 2, .1))
run("CosineAnnealingWarmRestarts fractional", lambda o: S.CosineAnnealingWarmRestarts(o, 3, 1, 0.),
    epochs=[.5, 1., 1.5, 2., 2.5, 3., 3.5, 4.])
run("OneCycleLR max 2 total 12", lambda o: S.OneCycleLR(o, 2., total_steps=12), 11)
run("OneCycleLR three_phase linear", lambda o: S.OneCycleLR(o, 2., total_steps=12, three_phase=True, anneal_strategy="linear", pct_start=.4), 11)
run("OneCycleLR no momentum", lambda o: S.OneCycleLR(o, [2., 1.], epochs=2, steps_per_epoch=5, cycle_momentum=False), 9)
run("OneCycleLR over the end", lambda o: S.OneCycleLR(o, 2., total_steps=3), 4)
run("CyclicLR triangular", lambda o: S.CyclicLR(o, .1, 1., 4))
run("CyclicLR triangular2", lambda o: S.CyclicLR(o, .1, 1., 2, mode="triangular2"))
run("CyclicLR exp_range .9", lambda o: S.CyclicLR(o, .1, 1., 3, 2, mode="exp_range", gamma=.9))
run("SequentialLR const 3 then exp", lambda o: S.SequentialLR(o, [S.ConstantLR(o, .1, 3), S.ExponentialLR(o, .9)], [3]))
run("SequentialLR warmup cosine", lambda o: S.SequentialLR(o, [S.LinearLR(o, .1, 1., 4), S.CosineAnnealingLR(o, 8)], [4]))
run("ChainedScheduler const exp", lambda o: S.ChainedScheduler([S.ConstantLR(o, .1, 3), S.ExponentialLR(o, .9)]))
run("ReduceLROnPlateau .5 patience 1", lambda o: S.ReduceLROnPlateau(o, factor=.5, patience=1),
    metrics=[1., 1., 1., .9, .9, .9999, .9, .9, float("nan"), 1., .1, .1, .1, .1])
run("ReduceLROnPlateau max abs cooldown min_lr",
    lambda o: S.ReduceLROnPlateau(o, mode="max", factor=.1, patience=0, threshold=.2, threshold_mode="abs", cooldown=2, min_lr=[.01, .2]),
    metrics=[1., 1.1, 1.3, 1.3, 1.3, 1.3, 1.3, 1.3])
run("ReduceLROnPlateau eps", lambda o: S.ReduceLROnPlateau(o, factor=.5, patience=0, eps=.3), metrics=[1.])
run("ReduceLROnPlateau factor 1", lambda o: S.ReduceLROnPlateau(o, factor=1.))
run("SWALR .05 5 cos", lambda o: SWALR(o, .05, 5))
run("SWALR .05 5 linear", lambda o: SWALR(o, .05, 5, "linear"))
