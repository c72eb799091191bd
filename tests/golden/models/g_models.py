"""Names, shapes, outputs and gradients of torchvision's and Hugging Face's models in float64, with every tensor filled by a formula.

python3 g_models.py > models.txt, with torch 2.11, torchvision 0.26 and transformers 5.24."""
import torch, torchvision, transformers

torch.set_num_threads(1)


def det(*shape, salt=0):
    n = 1
    for s in shape:
        n *= s
    return torch.tensor([((i + salt) * 7919 % 1000) / 1000 - 0.5 for i in range(n)], dtype=torch.float64).reshape(shape)


def fill(state):
    """Tensor k, element i: ((i*7919 + k*104729) mod 1000)/1000 - 0.5, scaled; norm weights and running variances are 1 + that/10."""
    with torch.no_grad():
        for k, (name, t) in enumerate(state):
            if not t.is_floating_point():
                continue
            v = ((torch.arange(t.numel()) * 7919 + k * 104729) % 1000).to(torch.float64) / 1000 - 0.5
            fan = max(1, t.numel() // t.shape[0]) if t.dim() > 1 else 1
            one = name.endswith("running_var") or (t.dim() == 1 and name.endswith("weight"))
            t.copy_((1 + v / 10 if one else v * (2.0 / fan) ** 0.5 * 1.7 if t.dim() > 1 else v / 10).reshape(t.shape))


def line(key, values):
    print("  %s %s" % (key, " ".join("%.12g" % v for v in values)))


def go(title, model, run, names=True):
    """run(model): the outputs, and a loss."""
    model = model.double()
    state = [(n, t) for n, t in model.state_dict().items() if n != "lm_head.weight" or not tied(model)]
    fill(state)
    print("==", title)
    line("parameters", [sum(p.numel() for p in model.parameters())])
    line("entries", [len(state)])
    if names:
        for n, t in state:
            print("  name %s %s" % (n, list(t.shape)))
    model.eval()
    with torch.no_grad():
        out = run(model)[0]
    line("eval", out.reshape(-1)[:6].tolist() + [out.sum().item(), out.abs().sum().item()])
    model.train()
    loss = run(model)[1]
    loss.backward()
    line("loss", [loss.item()])
    line("gradient", [sum((p.grad ** 2).sum() for p in model.parameters() if p.grad is not None).item() ** 0.5])


def tied(model):
    return getattr(getattr(model, "config", None), "tie_word_embeddings", False)


def classify(model):
    out = model(det(4, 3, 64, 64, salt=1))
    return out, torch.nn.functional.cross_entropy(out, torch.tensor([1, 2, 3, 4]))


def predict(model):
    ids = torch.tensor([[(k * 7 + 3) % 50 for k in range(8)], [(k * 11 + 1) % 50 for k in range(8)]])
    out = model(ids).logits
    return out, torch.nn.functional.cross_entropy(out[:, :-1].reshape(-1, 50), ids[:, 1:].reshape(-1))


R = torchvision.models
for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "wide_resnet50_2"):
    deep = name in ("resnet101", "resnet152")
    go(name, getattr(R, name)(num_classes=10), classify, names=name in ("resnet18", "resnet50"))
go("vit", R.VisionTransformer(image_size=64, patch_size=16, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=64, num_classes=10), classify)
print("== vit_b_16")
line("parameters", [sum(p.numel() for p in R.vit_b_16().parameters())])
go("gpt2", transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=4, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)), predict)
for size in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"):
    layers, heads, width = {"gpt2": (12, 12, 768), "gpt2-medium": (24, 16, 1024), "gpt2-large": (36, 20, 1280), "gpt2-xl": (48, 25, 1600)}[size]
    print("==", size, "size")
    with torch.device("meta"):
        line("parameters", [sum(p.numel() for p in transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=width, n_layer=layers, n_head=heads)).parameters())])
for tie in (False, True):
    go("llama" + (" tied" if tie else ""), transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=16, rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=tie)), predict)
