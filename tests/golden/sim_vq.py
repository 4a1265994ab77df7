"""Golden vectors of SimVQ, lucidrains conventions: codes are a frozen codebook times a learned matrix; the rotation
trick, or straight-through. Written from the formulas. Tokens [B, n, D].
"""

import torch
import torch.nn.functional as F

from vector import gap, leaf, nearest, tolerance as vector_tolerance
from vectors import Case

INPUTS = [r"in/.*", r"init/.*"]
ABOUT = {"module": "SimVQ, lucidrains conventions"}
GAP = 1e-3


def tolerance(case, path):
    return vector_tolerance(case, path)


def unit(x):
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-6)


def rotated(z, q):
    """The value of q; the gradient of the rotation and stretching that takes z there, held constant."""
    at, q = z.detach(), q.detach()
    u, v = unit(at), unit(q)
    r = unit(u + v)
    turned = z - 2 * r * (r * z).sum(-1, keepdim=True) + 2 * v * (u * z).sum(-1, keepdim=True)
    stretch = q.norm(dim=-1, keepdim=True) / at.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    return turned * stretch


def place(a, i):
    return f"layers.{i}." if a.get("num_quantizers", 1) > 1 else ""


def compute(case):
    """Of several layers each quantizes what those before it left over."""
    a = case.attrs
    layers = a.get("num_quantizers", 1)
    x = leaf(case.data["in/x"])
    weights = [leaf(case.data[f"init/{place(a, i)}code_transform.weight"]) for i in range(layers)]
    rest, loss, out, plain, every, least = x.reshape(-1, a["dim"]), 0, 0, 0, [], float("inf")
    for i, weight in enumerate(weights):
        code = torch.tensor(case.data[f"init/{place(a, i)}frozen_codebook"]) @ weight.t()
        ids = nearest(rest, code)
        q = code[ids]
        least = min(least, gap(rest, code))
        loss = loss + F.mse_loss(q, rest.detach()) + 0.25 * F.mse_loss(rest, q.detach())
        out = out + (rotated(rest, q) if a.get("rotation_trick", 1) else rest + (q - rest).detach())
        plain, rest = plain + q, rest - q.detach()
        every.append(ids)
    (loss + (out.view_as(x) * torch.tensor(case.data["in/r"])).sum()).backward()
    results = {
        "out/quantized": out.view_as(x),
        "out/indices": torch.stack(every, -1).view(*x.shape[:-1], layers),
        "out/losses": loss,
        "probe/output": plain.view_as(x),
        "grad/x": x.grad,
        "attrs": {"min_gap": least},
    }
    if layers == 1:
        results.update({"out/codebook": code, "probe/codes": plain.view_as(x)})
    results.update({f"grad/param/{place(a, i)}code_transform.weight": w.grad for i, w in enumerate(weights)})
    return results


def drawn(name, codes, dim, frozen, options):
    for seed in range(1000):
        torch.manual_seed(seed)
        data = {
            "in/x": torch.randn(2, 9, dim),
            "in/r": torch.randn(2, 9, dim),
        }
        for i in range(options.get("num_quantizers", 1)):
            data[f"init/{place(options, i)}frozen_codebook"] = torch.randn(codes, frozen) / frozen**0.5
            data[f"init/{place(options, i)}code_transform.weight"] = torch.randn(dim, frozen) / frozen**0.5
        case = Case(name, dict(dim=dim, codebook_size=codes, klass="SimVQ", **options), data)
        if compute(case)["attrs"]["min_gap"] > GAP:
            return case
    raise RuntimeError(f"{name}: no seed keeps a gap of {GAP}")


def cases():
    yield drawn("rotation", 16, 6, 6, {})
    yield drawn("rotation_frozen4", 24, 7, 4, dict(frozen_codebook_dim=4))
    yield drawn("straight_through", 12, 5, 5, dict(rotation_trick=0))
    yield drawn("straight_through_frozen9", 10, 4, 9, dict(rotation_trick=0, frozen_codebook_dim=9))
    yield drawn("residual_3", 14, 6, 6, dict(num_quantizers=3))
    yield drawn("residual_2_straight_through", 12, 5, 5, dict(num_quantizers=2, rotation_trick=0))
