"""The guide's ResNet-18 trained for some steps by PyTorch: the loss of each, from saved initial weights, in DistributedSampler's order."""
import json

import torch
from reference import FashionMNIST, guide_resnet18, need, path
from torch.utils.data import DataLoader, DistributedSampler

save_file = need("safetensors.torch").save_file
torch.set_num_threads(1)
torch.manual_seed(0)
model = guide_resnet18()
save_file(model.state_dict(), path("initial.safetensors"))
data = FashionMNIST(train=True)
sampler = DistributedSampler(data, num_replicas=2, rank=1, shuffle=True, seed=42)
sampler.set_epoch(1)
optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)
losses = []
for step, (x, y) in enumerate(DataLoader(data, batch_size=32, sampler=sampler)):
    if step == 8:
        break
    loss = torch.nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
json.dump(losses, open(path("losses.json"), "w"))
