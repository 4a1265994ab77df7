"""Golden vectors of three quantizers without a learned codebook of vectors, lucidrains conventions, written from the
formulas: latent quantization, random projections, finite scalar perturbation. Tokens [B, n, D]."""

import math

import torch
import torch.nn.functional as F

import finite_scalar as fsq
from vector import leaf, tolerance
from vectors import Case


def parameters(case, frozen=()):
    found = {n[5:]: torch.tensor(v) for n, v in case.data.items() if n.startswith("init/")}
    return {n: v if n in frozen else v.requires_grad_() for n, v in found.items()}


def results(case, x, params, out, plain, ids, loss, margin):
    """What a pass comes to. `plain`: the codes of the ids."""
    (loss + (out * torch.tensor(case.data["in/r"])).sum()).backward()
    return {
        "out/quantized": out,
        "out/indices": ids,
        "out/losses": loss,
        "eval/quantized": plain,
        "eval/indices": ids,
        "probe/output": plain,
        "grad/x": x.grad,
        **{"grad/param/" + n: p.grad for n, p in params.items() if p.requires_grad},
        "attrs": {"rounding_margin": margin},
    }


def settled(topic, name, attrs, draw, least=1e-4):
    for seed in range(1000):
        torch.manual_seed(seed)
        case = Case(name, attrs, draw(seed))
        if topic.compute(case)["attrs"]["rounding_margin"] > least:
            return case
    raise RuntimeError(f"{name}: no seed keeps the margin")


def tokens(dim, scale=1.0):
    return {"in/x": torch.randn(2, 9, dim) * scale, "in/r": torch.randn(2, 9, dim)}


def projections(seed, dim, inner):
    if dim == inner:
        return {}
    return {n.replace("param", "init"): v for n, v in fsq.projections(seed, dim, inner, 1).items()}


def basis(levels):
    return [math.prod(levels[:i]) for i in range(len(levels))]


class Latent:
    """The values of a dim are a grid from -1/2 with 0 among them, plus a learned offset. The codebook's loss is of the
    values themselves, before they are put straight-through."""

    INPUTS = [r"in/.*", r"init/.*"]
    ABOUT = {"module": "latent quantization, lucidrains conventions"}
    tolerance = staticmethod(tolerance)

    @staticmethod
    def grid(n):
        return torch.linspace(-0.5, 0.5, n) if n % 2 else torch.arange(n) / n - 0.5

    @staticmethod
    def compute(case):
        a, params = case.attrs, parameters(case)
        levels, books = a["levels"], a.get("num_codebooks", 1)
        x = leaf(case.data["in/x"])
        z = fsq.linear(x, params, "project_in")
        z = z.reshape(*z.shape[:-1], books, len(levels))
        hard, ids, margin = [], 0, 1.0
        for i, (n, place) in enumerate(zip(levels, basis(levels))):
            values = Latent.grid(n) + params[f"offset.{i}"].flatten()
            far = (z[..., i, None] - values).abs()
            two = far.detach().double().topk(2, largest=False).values
            margin = min(margin, float((two[..., 1] - two[..., 0]).min()))
            k = far.argmin(-1)
            hard.append(values[k])
            ids = ids + k * place
        v = torch.stack(hard, -1)
        loss = a["commitment_loss_weight"] * F.mse_loss(z, v.detach()) + a["quantization_loss_weight"] * F.mse_loss(v, z.detach())
        outward = lambda c: fsq.linear(c.flatten(-2), params, "project_out")
        return results(case, x, params, outward(z + (v - z).detach()), outward(v), ids, loss, margin)

    @staticmethod
    def cases():
        for name, levels, books, dim, w in [
            ("l558", [5, 5, 8], 1, 3, (0.1, 0.1)),
            ("l32_proj5", [3, 2], 1, 5, (0.25, 1.0)),
            ("l43_c2", [4, 3], 2, 4, (0.0, 0.5)),
            ("l9_dims", [2, 2, 3, 2, 2, 3, 2, 2, 2], 1, 9, (0.1, 0.1)),
        ]:
            attrs = dict(levels=levels, dim=dim, num_codebooks=books, commitment_loss_weight=w[0], quantization_loss_weight=w[1])

            def draw(seed):
                offsets = {f"init/offset.{i}": torch.randn(n, 1) * 0.05 for i, n in enumerate(levels)}
                return {**tokens(dim, 0.4), **offsets, **projections(seed, dim, books * len(levels))}

            yield settled(Latent, name, attrs, draw)


class Projection:
    """Tokens of mean 0 and variance 1, a frozen matrix for each codebook, the frozen direction with the largest cosine;
    a learned matrix back. The gradient goes straight through the choice and through the frozen matrix."""

    INPUTS = [r"in/.*", r"init/.*"]
    ABOUT = {"module": "random projection quantization, lucidrains conventions"}
    tolerance = staticmethod(tolerance)

    @staticmethod
    def compute(case):
        a = case.attrs
        params = parameters(case, ("projection", "codebook"))
        books, wide, codes = a.get("num_codebooks", 1), a["codebook_dim"], a["codebook_size"]
        x = leaf(case.data["in/x"])
        y = F.layer_norm(x, x.shape[-1:]) if a.get("norm", 1) else x
        y = F.normalize((y @ params["projection"]).unflatten(-1, (books, wide)), dim=-1, eps=1e-6)
        e = F.normalize(params["codebook"].view(books, codes, wide), dim=-1, eps=1e-6)
        cosine = torch.einsum("bnhe,hke->bnhk", y, e)
        two = cosine.detach().double().topk(2).values
        ids = cosine.argmax(-1)
        hard = torch.stack([e[h][ids[..., h]] for h in range(books)], -2)
        outward = lambda c: fsq.linear(c.flatten(-2), params, "project_out")
        margin = float((two[..., 0] - two[..., 1]).min())
        return results(case, x, params, outward(y + (hard - y).detach()), outward(hard), ids, torch.zeros(()), margin)

    @staticmethod
    def cases():
        for name, dim, wide, books, codes, more in [
            ("one", 7, 4, 1, 20, {}),
            ("three", 6, 3, 3, 12, {}),
            ("plain", 5, 5, 2, 9, dict(norm=0)),
        ]:
            attrs = dict(dim=dim, codebook_dim=wide, num_codebooks=books, codebook_size=codes, **more)

            def draw(seed):
                out = {"weight": torch.randn(dim, books * wide) * 0.4, "bias": torch.randn(dim) * 0.1}
                state = {"init/projection": torch.randn(dim, books * wide), "init/codebook": torch.randn(books * codes, wide)}
                return {**tokens(dim), **state, **{"init/project_out." + n: v for n, v in out.items()}}

            yield settled(Projection, name, attrs, draw, 2e-4)


class Perturbation:
    """u = F(z) in 0 ... 1, L even bins; in training, where in/hit is above `quantize_rate`, u is moved by
    (in/noise - 1/2) / L unless that leads out of 0 ... 1."""

    INPUTS = [r"in/.*", r"init/.*"]
    ABOUT = {"module": "finite scalar perturbation, lucidrains conventions"}
    tolerance = staticmethod(tolerance)
    FUNCTIONS = {
        "tanh": lambda z: (torch.tanh(z) + 1) / 2,
        "sigmoid": torch.sigmoid,
        "normal": lambda z: (1 + torch.erf(z / math.sqrt(2))) / 2,
        "laplace": lambda z: (1 + torch.sign(z) * (1 - torch.exp(-z.abs()))) / 2,
    }
    # mean's weight; variance's target and weight; skewness's, excess kurtosis's weight
    MOMENTS = {
        "none": (0, 0, 0, 0, 0),
        "var": (0.1, 1, 0.07, 0, 0),
        "kurt": (0.1, 1, 0.07, 0.06, 0.05),
        "var_tanh": (0.1, 0.8225, 0.07, 0, 0),
        "var_sigmoid": (0.1, 3.29, 0.07, 0, 0),
        "var_laplace": (0.1, 2.0, 0.07, 0, 0),
    }

    @staticmethod
    def moments(z, name):
        w = Perturbation.MOMENTS[name]
        variance, mean = torch.var_mean(z, 0)
        unit = (z - mean) / variance.sqrt().clamp(min=1e-8)
        terms = [mean, variance - w[1], (unit**3).mean(0), (unit**4).mean(0) - 3]
        return sum(k * (t**2).mean() for k, t in zip((w[0], w[2], w[3], w[4]), terms))

    @staticmethod
    def compute(case):
        a, params = case.attrs, parameters(case)
        n = torch.tensor(a["levels"]).float()
        x = leaf(case.data["in/x"])
        z = fsq.linear(x, params, "project_in").flatten(0, 1)
        u = Perturbation.FUNCTIONS[a["act_name"]](z)
        k = (u.clamp(max=1 - 2.0**-23) * n).floor().detach()
        hard = (k + 0.5) / n
        wide = (u * n).detach().double()
        out = u + (hard - u).detach()
        if "in/hit" in case.data:
            hit, noise = (torch.tensor(case.data[name]) for name in ("in/hit", "in/noise"))
            there = u + (noise - 0.5) / n
            moved = torch.where((there > 0) & (there < 1), there, u)
            out = torch.where(hit > a["quantize_rate"], moved, out)
        outward = lambda c: fsq.linear((c - 0.5) / 0.28867513459481287, params, "project_out").view(x.shape)
        ids = (k.long() * torch.tensor(basis(a["levels"]))).sum(-1).view(x.shape[:-1])
        margin = float((wide - wide.round()).abs().min())
        return results(case, x, params, outward(out), outward(hard), ids, Perturbation.moments(z, a["vector_norm"]), margin)

    @staticmethod
    def cases():
        for name, levels, dim, rate, function, norm in [
            ("quantized", [8, 6, 5], 3, 1.0, "tanh", "var_tanh"),
            ("moved", [8, 5], 2, 0.0, "tanh", "var_tanh"),
            ("mixed_proj5", [5, 4, 3], 5, 0.5, "sigmoid", "var_sigmoid"),
            ("normal_kurt", [7, 4], 2, 0.3, "normal", "kurt"),
            ("laplace", [2, 9], 2, 0.6, "laplace", "var_laplace"),
            ("normal_none", [2, 3], 2, 1.0, "normal", "none"),
        ]:
            attrs = dict(levels=levels, dim=dim, quantize_rate=rate, act_name=function, vector_norm=norm)

            def draw(seed):
                draws = {} if rate == 1 else {f"in/{n}": torch.rand(18, len(levels)) for n in ("hit", "noise")}
                return {**tokens(dim), **draws, **projections(seed, dim, len(levels))}

            yield settled(Perturbation, name, attrs, draw)
