"""Every torch.optim optimizer: 6 steps over two parameters of float64, with gradients by a formula. Two groups: the second
has half the learning rate and a weight decay of 0.3. Made with torch 2.11.0."""
import torch
import torch.optim as O
from common import det, out

f = out("optimizers.txt")


def text(tensor):
    return "[" + " ".join(f"{v:.15g}" for v in tensor.detach().flatten().tolist()) + "]"


def value(v):
    if torch.is_tensor(v):
        return text(v) if v.numel() <= 8 else "Tensor"
    return v if isinstance(v, (int, float)) else type(v).__name__


def run(title, make, steps=6, sparse=False):
    a, b = torch.nn.Parameter(det(3, 2, salt=2)), torch.nn.Parameter(det(4, salt=9))
    try:
        optimizer = make(a, b)
    except Exception as e:
        f.write(f"== {title}: {type(e).__name__}: {str(e)[:120]}\n")
        return
    f.write(f"== {title}\n")

    def closure():
        optimizer.zero_grad()
        loss = ((a - 1) ** 2).sum() + ((b + 2) ** 4).sum()
        loss.backward()
        return loss

    for k in range(steps):
        for i, p in enumerate((a, b)):
            gradient = det(*p.shape, salt=11 * k + 3 * i + 1) * 2
            p.grad = gradient.to_sparse() if sparse else gradient
        if isinstance(optimizer, O.LBFGS):
            optimizer.step(closure)
        else:
            optimizer.step()
        if k in (0, 1, steps - 1):
            f.write(f"  step {k + 1}: a={text(a)} b={text(b)}\n")
    state = optimizer.state_dict()
    f.write(f"  param_groups: {state['param_groups']}\n")
    for k, tensors in state["state"].items():
        f.write(f"  state[{k}]: { {name: value(v) for name, v in tensors.items()} }\n")


def two(kind, **options):
    second = {"lr": options["lr"] * 0.5, "weight_decay": 0.3}
    return lambda a, b: kind([{"params": [a]}, {"params": [b], **second}], **options)


run("SGD lr .1", two(O.SGD, lr=.1))
run("SGD momentum .9", two(O.SGD, lr=.1, momentum=.9))
run("SGD momentum .9 dampening .1 wd", two(O.SGD, lr=.1, momentum=.9, dampening=.1, weight_decay=.01))
run("SGD nesterov", two(O.SGD, lr=.1, momentum=.9, nesterov=True))
run("SGD maximize", two(O.SGD, lr=.1, maximize=True))
for kind in (O.Adam, O.AdamW, O.NAdam, O.RAdam):
    run(f"{kind.__name__}", two(kind, lr=.01))
    run(f"{kind.__name__} wd .1", two(kind, lr=.01, weight_decay=.1))
run("Adam amsgrad", two(O.Adam, lr=.01, amsgrad=True))
run("AdamW amsgrad maximize", two(O.AdamW, lr=.01, amsgrad=True, maximize=True))
run("Adam decoupled_weight_decay", two(O.Adam, lr=.01, weight_decay=.1, decoupled_weight_decay=True))
run("NAdam decoupled", two(O.NAdam, lr=.01, weight_decay=.1, decoupled_weight_decay=True))
run("RAdam decoupled, 8 steps", two(O.RAdam, lr=.01, weight_decay=.1, decoupled_weight_decay=True), 8)
run("Adamax", two(O.Adamax, lr=.01))
run("Adagrad", two(O.Adagrad, lr=.1, lr_decay=.01, initial_accumulator_value=.1))
run("Adadelta", two(O.Adadelta, lr=1.))
run("RMSprop", two(O.RMSprop, lr=.01))
run("RMSprop centered momentum", two(O.RMSprop, lr=.01, momentum=.9, centered=True))
run("ASGD", two(O.ASGD, lr=.01))
run("ASGD t0 2", two(O.ASGD, lr=.01, t0=2))
run("Rprop", lambda a, b: O.Rprop([a, b], lr=.01))
run("Adafactor", two(O.Adafactor, lr=.01))
run("Adafactor defaults", lambda a, b: O.Adafactor([a, b]))
run("LBFGS", lambda a, b: O.LBFGS([a, b], lr=1., max_iter=4), 3)
run("LBFGS strong_wolfe", lambda a, b: O.LBFGS([a, b], line_search_fn="strong_wolfe"), 2)
run("SparseAdam", lambda a, b: O.SparseAdam([a, b], lr=.01), 4, True)
run("Muon", lambda a, b: O.Muon([a], lr=.02))
run("Muon match_rms_adamw", lambda a, b: O.Muon([a], lr=.02, adjust_lr_fn="match_rms_adamw"))
run("Muon of a vector", lambda a, b: O.Muon([b], lr=.02))

one = torch.nn.Parameter(torch.ones(1))
for title, make in [
    ("no params", lambda: O.SGD([], lr=.1)),
    ("lr -1", lambda: O.SGD([one], lr=-1)),
    ("nesterov without momentum", lambda: O.SGD([one], lr=.1, nesterov=True)),
    ("betas", lambda: O.Adam([one], betas=(1., .9))),
    ("same param twice", lambda: O.SGD([{"params": [one]}, {"params": [one]}], lr=.1)),
    ("non leaf", lambda: O.SGD([torch.ones(1, requires_grad=True) * 2], lr=.1)),
]:
    try:
        make()
        f.write(f"refused? {title}: accepted\n")
    except Exception as e:
        f.write(f"refused {title}: {type(e).__name__}: {str(e)[:150]}\n")
