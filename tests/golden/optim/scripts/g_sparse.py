"""torch.optim.SparseAdam over an embedding whose rows come and go: sparse_adam.txt. GOLD_OUT=DIR python g_sparse.py"""
import os
import torch

torch.set_num_threads(1)


def det(*shape, salt=0):
    n = 1
    for s in shape:
        n *= s
    return torch.tensor([(((i + salt) * 7919) % 1000) / 1000 - 0.5 for i in range(n)], dtype=torch.float64).reshape(*shape)


with open(os.path.join(os.environ.get("GOLD_OUT", "."), "sparse_adam.txt"), "w") as f:
    for title, options in (("SparseAdam", dict(lr=0.01)), ("SparseAdam maximize", dict(lr=0.1, betas=(0.8, 0.9), eps=1e-6, maximize=True))):
        table = torch.nn.Embedding(5, 2, sparse=True).double()
        with torch.no_grad():
            table.weight.copy_(det(5, 2))
        adam = torch.optim.SparseAdam(list(table.parameters()), **options)
        f.write(f"== {title}\n")
        for rows in ([0, 1, 1], [3], [1, 4], [0, 1, 2, 3, 4], [2, 2]):
            adam.zero_grad()
            ((table(torch.tensor(rows)) - det(len(rows), 2, salt=3)) ** 2).sum().backward()
            adam.step()
            f.write("  " + " ".join(format(v, ".15g") for v in table.weight.detach().flatten().tolist()) + "\n")
        state = adam.state_dict()["state"][0]
        f.write("  state " + " ".join(f"{k} {[round(x, 12) for x in v.flatten().tolist()] if torch.is_tensor(v) else v}" for k, v in state.items()) + "\n")
