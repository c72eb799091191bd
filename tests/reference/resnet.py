"""torchvision's ResNets: initial values for a seed, outputs in both modes, names and shapes."""
import json

import torch
from reference import need, path

save_file = need("safetensors.torch").save_file
models = need("torchvision.models")

torch.manual_seed(3)
model = models.resnet18(num_classes=10)
save_file({"model." + k: v for k, v in model.state_dict().items()}, path("initial.safetensors"))

# Other values than the initial ones everywhere, so that no buffer or bias is trivially right.
for p in model.parameters():
    p.data += 0.02 * torch.randn_like(p)
for name, b in model.named_buffers():
    if b.is_floating_point():
        b += 0.1 * torch.rand_like(b)
save_file(model.state_dict(), path("weights.safetensors"))
images = torch.randn(4, 3, 64, 64)
with torch.no_grad():
    evaluated = model.eval()(images)
    trained = model.train()(images)
save_file({"images": images, "eval": evaluated, "train": trained, **{"after." + k: v for k, v in model.state_dict().items() if "running" in k or "tracked" in k}},
          path("outputs.safetensors"))
shapes = {k: [[n, list(t.shape)] for n, t in getattr(models, k)().state_dict().items()] for k in ("resnet18", "resnet34")}
json.dump(shapes, open(path("shapes.json"), "w"))
