"""torch.optim over 20 steps for a table of options: float64 by the plain implementation, float32 by the fused one."""
import json

import torch
from reference import need, path

save_file = need("safetensors.torch").save_file
STEPS, SHAPES = 20, [(7, 5), (16,), (4, 3, 3, 3), ()]
CASES = [
    ("Adam", {}),
    ("Adam", dict(lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.05)),
    ("Adam", dict(amsgrad=True, weight_decay=0.01)),
    ("Adam", dict(maximize=True)),
    ("AdamW", {}),
    ("AdamW", dict(lr=0.05, weight_decay=0.3, amsgrad=True)),
    ("AdamW", dict(maximize=True, betas=(0.5, 0.9))),
    ("SGD", {}),
    ("SGD", dict(lr=0.1, weight_decay=0.1)),
    ("SGD", dict(lr=0.05, momentum=0.9)),
    ("SGD", dict(lr=0.05, momentum=0.9, dampening=0.3, weight_decay=0.01)),
    ("SGD", dict(lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.02)),
    ("SGD", dict(lr=0.05, momentum=0.8, maximize=True)),
]

tensors, table = {}, []
for number, (kind, options) in enumerate(CASES):
    for dtype in (torch.float64, torch.float32):
        # The parameter `late` has no gradient in the first steps. (PyTorch's fused SGD cannot do that, so only with float64.)
        late = 1 if dtype == torch.float64 else None
        key = f"{number}/{'F64' if dtype == torch.float64 else 'F32'}"
        torch.manual_seed(number)
        params = [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in SHAPES]
        for i, p in enumerate(params):
            tensors[f"{key}/begin/{i}"] = p.detach().clone()
        optimizer = getattr(torch.optim, kind)(params, **options, **(dict(fused=True) if dtype == torch.float32 else dict(foreach=False, fused=False)))
        for step in range(STEPS):
            for i, p in enumerate(params):
                p.grad = None if i == late and step < 4 else torch.randn_like(p)
                if p.grad is not None:
                    tensors[f"{key}/grad/{step}/{i}"] = p.grad.clone()
            optimizer.step()
        for i, p in enumerate(params):
            tensors[f"{key}/end/{i}"] = p.detach().clone()
            for name, value in optimizer.state[p].items():
                if isinstance(value, torch.Tensor):
                    tensors[f"{key}/state/{i}.{name}"] = value.clone()
        flat = {k: v for k, v in options.items() if k != "betas"}
        if "betas" in options:
            flat["beta1"], flat["beta2"] = options["betas"]
        table.append(dict(key=key, kind=kind, options=flat, steps=STEPS, parameters=len(SHAPES)))
save_file(tensors, path("optim.safetensors"))
json.dump(table, open(path("optim.json"), "w"))
