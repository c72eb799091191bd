"""PyPI's safetensors reads what the SDK wrote (cpp.safetensors) and writes what the SDK then reads (python.safetensors)."""
import torch
from reference import need, path

io = need("safetensors.torch")
TYPES = dict(F64=torch.float64, F32=torch.float32, F16=torch.float16, BF16=torch.bfloat16, I64=torch.int64, I32=torch.int32, I16=torch.int16,
             I8=torch.int8, U8=torch.uint8, BOOL=torch.bool)
expected = {name: (torch.arange(12) % 5 - (0 if name in ("U8", "BOOL") else 2)).to(dtype).reshape(3, 4) for name, dtype in TYPES.items()}
expected["scalar"] = torch.tensor(2.5)
expected["empty"] = torch.zeros(0, 3)

found = io.load_file(path("cpp.safetensors"))
assert found.keys() == expected.keys(), found.keys()
for name, tensor in expected.items():
    assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape and torch.equal(found[name], tensor), name
with need("safetensors").safe_open(path("cpp.safetensors"), "pt") as f:
    assert f.metadata() == {"format": "pt", "epoch": "3"}, f.metadata()
io.save_file(expected, path("python.safetensors"), metadata={"format": "pt", "epoch": "3"})
