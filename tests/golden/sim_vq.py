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


def compute(case):
    a = case.attrs
    weight = leaf(case.data["init/code_transform.weight"])
    x, frozen = leaf(case.data["in/x"]), torch.tensor(case.data["init/frozen_codebook"])
    code = frozen @ weight.t()
    rows = x.reshape(-1, a["dim"])
    ids = nearest(rows, code)
    q = code[ids]
    loss = F.mse_loss(q, rows.detach()) + 0.25 * F.mse_loss(rows, q.detach())
    out = rotated(rows, q) if a.get("rotation_trick", 1) else rows + (q - rows).detach()
    (loss + (out.view_as(x) * torch.tensor(case.data["in/r"])).sum()).backward()
    return {
        "out/quantized": out.view_as(x),
        "out/indices": ids.view(x.shape[:-1]),
        "out/losses": loss,
        "out/codebook": code,
        "probe/codes": q.view_as(x),
        "grad/x": x.grad,
        "grad/param/code_transform.weight": weight.grad,
        "attrs": {"min_gap": gap(rows, code)},
    }


def drawn(name, codes, dim, frozen, options):
    for seed in range(1000):
        torch.manual_seed(seed)
        data = {
            "in/x": torch.randn(2, 9, dim),
            "in/r": torch.randn(2, 9, dim),
            "init/frozen_codebook": torch.randn(codes, frozen) / frozen**0.5,
            "init/code_transform.weight": torch.randn(dim, frozen) / frozen**0.5,
        }
        case = Case(name, dict(dim=dim, codebook_size=codes, klass="SimVQ", **options), data)
        if compute(case)["attrs"]["min_gap"] > GAP:
            return case
    raise RuntimeError(f"{name}: no seed keeps a gap of {GAP}")


def cases():
    yield drawn("rotation", 16, 6, 6, {})
    yield drawn("rotation_frozen4", 24, 7, 4, dict(frozen_codebook_dim=4))
    yield drawn("straight_through", 12, 5, 5, dict(rotation_trick=0))
    yield drawn("straight_through_frozen9", 10, 4, 9, dict(rotation_trick=0, frozen_codebook_dim=9))
