"""Loads a checkpoint of the example into torchvision's ResNet-18 and prints its accuracy on Fashion-MNIST's test set: `python SCRIPT CHECKPOINT_FOLDER_OR_FILE`."""
import os

import torch
from reference import FOLDER, FashionMNIST, guide_resnet18, need

load_file = need("safetensors.torch").load_file
file = next(f for f in (FOLDER, os.path.join(FOLDER, "model.safetensors"), os.path.join(FOLDER, "checkpoint.ckpt", "model.safetensors")) if os.path.isfile(f))
weights = {k.removeprefix("model."): v for k, v in load_file(file).items() if k.startswith("model.")}
model = guide_resnet18()
model.load_state_dict(weights)  # strict: every name and shape is torchvision's
model.eval()
right = total = 0
with torch.no_grad():
    for x, y in torch.utils.data.DataLoader(FashionMNIST(train=False), batch_size=500):
        right += (model(x).argmax(1) == y).sum().item()
        total += len(y)
print(f"{right / total:.6f}")
