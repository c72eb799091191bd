"""What a Python program needs from its start to its first line, its first kernel and its first step. A peer of benchmarks/gpu_speed.py."""
import json
import sys
import time

import torch

device = torch.device(sys.argv[1])
entered = time.time_ns()
torch.ones(1, device=device).add_(1).item()
kernel = time.time_ns()
try:
    from torchvision.models import resnet18
    net = resnet18(num_classes=10)
    net.conv1 = torch.nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
except ImportError:  # what is counted is the start, so another model will do
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(10))
net.to(device)
batch = 128 if device.type == "cuda" else 2
images = torch.rand(batch, 1, 28, 28, device=device)
loss = torch.nn.functional.cross_entropy(net(images), torch.zeros(batch, dtype=torch.long, device=device))
loss.backward()
torch.optim.Adam(net.parameters(), fused=True).step()
if device.type == "cuda":
    torch.cuda.synchronize()
print(json.dumps({"entered_ns": entered, "kernel_ns": kernel, "step_ns": time.time_ns()}))
