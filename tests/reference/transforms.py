"""torchvision's ToTensor and Normalize on every byte, and the first samples of Fashion-MNIST through them."""
import numpy as np
import torch
from reference import FashionMNIST, need, path

save_file = need("safetensors.torch").save_file
T = need("torchvision.transforms")
Image = need("PIL.Image")

ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
colours = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
out = {"colours": torch.from_numpy(colours).permute(2, 0, 1).contiguous()}
out["to_tensor"] = T.ToTensor()(Image.fromarray(ramp))
out["half"] = T.Compose([T.ToTensor(), T.Normalize((0.5,), (0.5,))])(Image.fromarray(ramp))
out["odd"] = T.Compose([T.ToTensor(), T.Normalize((0.2860,), (0.3530,))])(Image.fromarray(ramp))
out["imagenet"] = T.Compose([T.ToTensor(), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])(Image.fromarray(colours))
for name, train in (("train", True), ("test", False)):
    data = FashionMNIST(train)
    some = [data[i] for i in range(0, len(data), 997)]
    out[name + "_images"] = torch.stack([x for x, _ in some])
    out[name + "_labels"] = torch.tensor([y for _, y in some])
save_file(out, path("transforms.safetensors"))
