"""Golden vectors of one whole model: the classic VQ-VAE on small images, codebook by gradient and EMA, three steps."""

import os
import sys

import torch
import torch.nn.functional as F

from vector import gap, rows
from vectors import Case, difference, matches, stored

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from torch_models import Classic, MovingCodebook, NamedCodebook  # noqa: E402

INPUTS = [r"in/.*", r"param/.*"]
ABOUT = {"module": "classic VQ-VAE on images"}
GAP = 1e-4  # least difference between the best and the second best squared distance of any row in any step
LEAST_USED = 3.0  # perplexity: a case in which one code takes everything would prove little
LATER = [r"step[12]/(?!after/).*"]


def model_of(case):
    a = case.attrs
    quantizer = (
        MovingCodebook(a["num_embeddings"], a["embedding_dim"], a["commitment_cost"], a["decay"])
        if a["decay"]
        else NamedCodebook(a["num_embeddings"], a["embedding_dim"], a["commitment_cost"])
    )
    return Classic(quantizer, a["embedding_dim"], a["num_hiddens"], a["num_residual_hiddens"], a["num_residual_layers"])


def stepped(model, opt, x, variance):
    """One training step: results of the forward pass, gradients by name, the gap of the ids."""
    z = model.encode(x)
    least = gap(rows(z), model._vq_vae._embedding.weight)
    recon, ids, vq_loss, spread = model(x)
    error = F.mse_loss(recon, x) / variance
    opt.zero_grad()
    (error + vq_loss).backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    opt.step()
    return (
        {
            "recon": recon,
            "indices": ids,
            "vq_loss": vq_loss,
            "perplexity": spread,
            "recon_error": error,
            "loss": error + vq_loss,
            "z_e": z,
        },
        grads,
        least,
    )


def compute(case):
    a, results, least = case.attrs, {}, float("inf")
    model = model_of(case)
    model.load_state_dict({n[6:]: torch.tensor(v) for n, v in case.data.items() if n.startswith("param/")})
    opt = torch.optim.Adam(
        [p for p in model.parameters() if p.requires_grad], a["lr"], (a["beta1"], a["beta2"]), a["adam_eps"]
    )
    for step, x in enumerate(torch.tensor(case.data["in/x"])):
        at = f"step{step}/"
        out, grads, found = stepped(model, opt, x, a["data_variance"])
        least = min(least, found)
        results.update({at + n: v for n, v in out.items()})
        if step == 0:
            results.update({at + "grad/" + n: v for n, v in grads.items()})
        if step != 1:
            results.update({at + "after/" + n: v.clone() for n, v in model.state_dict().items()})
    return {**results, "attrs": {"min_gap": least}}


def compare(case, path, got):
    """Adam normalises: where a gradient is rounding noise, a parameter moves by up to the rate in any direction."""
    want = case.data[path]
    if "/after/" in path:
        step, name = int(path[4]) + 1, path.split("/after/")[1]
        allowed = torch.full(want.shape, 2e-5)
        g = case.data.get("step0/grad/" + name)
        if g is not None:
            g = torch.as_tensor(g).abs()
            allowed[g <= 1e-5 * g.max()] = 2 * case.attrs["lr"] * step
        return float(((torch.as_tensor(stored(got)) - torch.as_tensor(want)).abs() / allowed).max())
    if "/grad/" in path and abs(want).max() < 1e-7:
        return 0.0
    return difference(got, want, 5e-4 if matches(LATER, path) else 5e-5, 0.0)


def pictures(count, size):
    """Smooth colour gradients with two discs each, in [-0.5, 0.5]."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    out = torch.empty(count, 3, size, size)
    for image in out:
        a, b, c = (torch.rand(3, 1, 1) * 2 - 1 for _ in range(3))
        image.copy_(a * x + b * y + c * x * y)
        for _ in range(2):
            cx, cy, r = torch.rand(3) * torch.tensor([1.6, 1.6, 0.5]) - torch.tensor([0.8, 0.8, -0.15])
            image[:, (x - cx) ** 2 + (y - cy) ** 2 < r * r] = torch.rand(3, 1) * 2 - 1
    return (out / 2).clamp(-0.5, 0.5)


def drawn(name, codes, size, decay, seed):
    torch.manual_seed(seed)
    x = pictures(9, size).view(3, 3, 3, size, size)
    attrs = dict(
        num_embeddings=codes,
        embedding_dim=8,
        commitment_cost=0.25,
        decay=decay,
        image_size=size,
        num_hiddens=16,
        num_residual_hiddens=8,
        num_residual_layers=2,
        lr=1e-3,
        beta1=0.9,
        beta2=0.999,
        adam_eps=1e-8,
        data_variance=float(x.var()),
        seed=seed,
        loss="mse(recon,x)/data_variance + vq_loss",
        note="inputs: generated gradients and discs",
        note_ema="_ema_w starts as the embedding, _ema_cluster_size as 1" if decay else "",
    )
    case = Case(name, attrs, {"in/x": x})
    model = model_of(case)
    with torch.no_grad():  # spread outputs and codes among them, so that many are used
        model._pre_vq_conv.weight.mul_(8)
        z = rows(model.encode(x.flatten(0, 1)))
        code = z[torch.randperm(len(z))[:codes]] + torch.randn(codes, 8) * 0.1 * z.std(0)
        model._vq_vae._embedding.weight.copy_(code)
        if decay:
            model._vq_vae._ema_w.copy_(code)
    return Case(name, attrs, {"in/x": x, **{"param/" + n: v for n, v in model.state_dict().items()}})


def cases():
    for name, codes, size, decay in (("grad", 16, 16, 0), ("ema", 12, 16, 0.99)):
        for seed in range(4000):
            case = drawn(name, codes, size, decay, seed)
            results = compute(case)
            used = min(float(results[f"step{i}/perplexity"]) for i in range(3))
            if results["attrs"]["min_gap"] > GAP and used > LEAST_USED:
                yield case
                break
        else:
            raise RuntimeError(f"{name}: no seed keeps a gap of {GAP} and uses its codes")
