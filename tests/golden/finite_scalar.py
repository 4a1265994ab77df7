"""Golden vectors of finite scalar quantization, written from its formulas.

Notation: L levels of a dimension, h = L // 2, offset o = 1/2 for even L. A code is the rounded, bounded value over h;
its level k = round + h counts from 0; the id is sum(k_i * product(L_0 .. L_{i-1})): the first dimension counts least.
"""

import math

import torch
import torch.nn.functional as F

from vectors import Case

EPS = 1e-3
MARGIN = 1e-3  # no drawn sample is nearer than this to a rounding boundary


def grid(levels, dtype=torch.float32):
    n = torch.tensor(levels)
    return n, (n // 2).to(dtype), torch.where(n % 2 == 0, 0.5, 0.0).to(dtype)


def bounded(z, levels, bound, hard=False):
    """z squeezed so that rounding hits exactly L integers; `symmetric` gives (L-1)(t+1)/2 instead, rounded half up."""
    n, _, offset = grid(levels, z.dtype)
    squeeze = (lambda v: v.clamp(-1, 1)) if hard else torch.tanh
    if bound == "symmetric":
        return (n - 1) * (squeeze(z) + 1) / 2
    half = (n - 1).to(z.dtype) * ((1 - EPS) if bound == "google" else (1 + EPS)) / 2
    shift = offset / half if hard else torch.tan(offset / half) if bound == "google" else torch.atanh(offset / half)
    return squeeze(z + shift) * half - offset


def nearest(b, bound):
    return torch.floor(b + 0.5) if bound == "symmetric" else torch.round(b)


def quantize(z, levels, bound="lucidrains", hard=False):
    """codes with the straight-through gradient, levels as integers"""
    n, h, _ = grid(levels, z.dtype)
    b = bounded(z, levels, bound, hard)
    r = nearest(b, bound)
    through = b + (r - b).detach()
    if bound == "symmetric":
        return through * 2 / (n - 1) - 1, r.long()
    return through / h, (r + h).round().long()


def codes_of(level, levels, bound="lucidrains"):
    n, h, _ = grid(levels)
    return level * 2.0 / (n - 1) - 1 if bound == "symmetric" else (level - h) / h


def radix(levels):
    return torch.tensor([math.prod(levels[:i]) for i in range(len(levels))])


def ids_of(level, levels):
    return (level * radix(levels)).sum(-1)


def levels_of(ids, levels):
    return ids.unsqueeze(-1) // radix(levels) % torch.tensor(levels)


def margin(z, levels, bound, hard=False):
    """How far the sample closest to a rounding boundary is from it."""
    b = bounded(z.double(), levels, bound, hard) + 0.5
    return float((b - b.round()).abs().min())


def tolerance(case, path):
    return 1e-5, 1.0


def linear(x, params, name):
    return F.linear(x, params[name + ".weight"], params.get(name + ".bias")) if name + ".weight" in params else x


def parameters(case):
    return {n[6:]: torch.tensor(v).requires_grad_() for n, v in case.data.items() if n.startswith("param/")}


def to_last(x):
    return x.movedim(1, -1)


def to_first(x):
    return x.movedim(-1, 1)


def draw(seed, shape, scale, levels, bound, hard=False, prepare=lambda z: z):
    """z and r from the first seed from `seed` on that keeps every sample away from the boundaries."""
    for s in range(seed, seed + 1000):
        torch.manual_seed(s)
        z, r = torch.randn(shape) * scale, torch.randn(shape)
        gap = margin(prepare(z), levels, bound, hard)
        if gap > MARGIN:
            return z, r, dict(seed=s, rounding_margin=gap)
    raise RuntimeError(f"no seed from {seed} on leaves a margin of {MARGIN}")


def projections(seed, dim, width, bias):
    torch.manual_seed(seed)
    out = {}
    for name, o, i in (("project_in", width, dim), ("project_out", dim, width)):
        out[f"param/{name}.weight"] = torch.randn(o, i) / i**0.5
        if bias:
            out[f"param/{name}.bias"] = torch.randn(o) * 0.1
    return out


def sized(values):
    """The numbers that every case's attributes hold."""
    levels, books, dim = values["levels"], values["num_codebooks"], values["dim"]
    return dict(
        codebook_dim=len(levels),
        codebook_size=math.prod(levels),
        has_projections=int(dim != len(levels) * books),
        **values,
    )


class Forward:
    """One pass of an FSQ layer: tokens [b, n.., dim] -> codes [b, n.., dim], levels and ids [b, n.., books]."""

    def __init__(self, tokens, levels, books, params, bound, hard=False, rotation=None):
        self.levels, self.books, self.params, self.bound, self.rotation = levels, books, params, bound, rotation
        z = linear(tokens, params, "project_in")
        self.z = z.reshape(*z.shape[:-1], books, len(levels))
        turned = self.z if rotation is None else self.z @ rotation
        self.turned = turned
        codes, self.level = quantize(turned, levels, bound, hard)
        self.ids = ids_of(self.level, levels)
        self.out = self.outward(codes)

    def outward(self, codes):
        """codes [b, n.., books, d] -> [b, n.., dim]"""
        codes = codes if self.rotation is None else codes @ self.rotation.t()
        return linear(codes.flatten(-2), self.params, "project_out")

    def merged(self, per_book):
        """Without the axis of codebooks where there is one."""
        return per_book.squeeze(-1) if self.books == 1 else per_book

    def implicit(self):
        return codes_of(levels_of(torch.arange(math.prod(self.levels)), self.levels), self.levels, self.bound)

    def decode(self):
        return self.outward(codes_of(levels_of(self.ids, self.levels), self.levels, self.bound))


class MotionMillion:
    """Channel-first input; perplexity and share of used codes; decoding of sequences stays channel-last."""

    INPUTS = [r"in/.*", r"param/.*"]
    ABOUT = {"module": "finite scalar quantization, MotionMillion conventions"}
    tolerance = staticmethod(tolerance)

    @staticmethod
    def compute(case):
        a, params = case.attrs, parameters(case)
        z = torch.tensor(case.data["in/z"]).requires_grad_()
        f = Forward(to_last(z), a["levels"], a["num_codebooks"], params, "lucidrains")
        out = to_first(f.out)
        r = case.data.get("in/r")
        (out.sum() if r is None else (out * torch.tensor(r)).sum()).backward()
        used = torch.bincount(f.ids.flatten(), minlength=a["codebook_size"])
        p = used / f.ids.numel()
        results = {
            "out/out": out,
            "out/indices": f.merged(f.ids),
            "grad/z": z.grad,
            "out/activate": (used > 0).float().mean(),
            "out/perplexity": torch.exp(-(p * torch.log(p + 1e-7)).sum()),
        }
        results.update({"grad/param/" + n: p.grad for n, p in params.items()})
        return {**results, **(MotionMillion.grid_results(case, f) if r is None else MotionMillion.probes(case, f))}

    @staticmethod
    def grid_results(case, f):
        results = {"out/bounded": bounded(f.z, f.levels, "lucidrains").flatten(-2)}
        if case.name.startswith("quirk_truncation"):
            # the float sum, truncated: (k - h) / h * h + h falls below the integer for some k
            h = grid(f.levels)[1]
            rounded = nearest(bounded(f.z, f.levels, "lucidrains"), "lucidrains")
            scaled = rounded / h * h + h
            results["out/indices"] = f.merged((scaled * radix(f.levels)).sum(-1).to(torch.int32))
            results["out/indices_exact"] = f.merged(f.ids)
            size = case.attrs["codebook_size"]
            used = torch.bincount(results["out/indices"].flatten(), minlength=size)
            p = used / used.sum()
            results["out/activate"] = (used > 0).float().mean()
            results["out/perplexity"] = torch.exp(-(p * torch.log(p + 1e-7)).sum())
        return results

    @staticmethod
    def probes(case, f):
        image = len(case.attrs["shape"]) > 3
        decoded = f.decode()
        results = {
            "out/commit_loss": torch.zeros(()),
            "probe/indices": f.merged(f.ids),
            "probe/level_indices": levels_of(f.merged(f.ids), f.levels),
            "probe/indices_to_codes": to_first(decoded) if image else decoded,
        }
        if case.attrs["codebook_size"] <= 4375:
            results["out/implicit_codebook"] = f.implicit()
        if case.attrs["dequantize_ok"]:
            codes = codes_of(levels_of(f.ids, f.levels), f.levels)
            results["probe/dequantize"] = f.outward(codes) if f.books == 1 else codes
        return results

    @staticmethod
    def cases():
        for i, (name, levels, dim, books, shape, bias, scale) in enumerate(
            [
                ("l865", [8, 6, 5], 3, 1, (2, 3, 40), 1, 1.0),
                ("l8555_proj16", [8, 5, 5, 5], 16, 1, (2, 16, 24), 1, 1.0),
                ("l86_c2_img", [8, 6], 4, 2, (2, 4, 3, 5), 1, 1.0),
                ("l333_c2_proj10", [3, 3, 3], 10, 2, (2, 10, 12), 1, 1.0),
                ("l75555_wide", [7, 5, 5, 5, 5], 5, 1, (2, 5, 12), 1, 3.0),
                ("l5_proj9_nobias", [5], 9, 1, (1, 9, 21), 0, 1.0),
                ("l4777", [4, 7, 7, 7], 4, 1, (1, 4, 17), 1, 1.5),
            ]
        ):
            attrs = sized(dict(levels=levels, dim=dim, num_codebooks=books, bias=bias, shape=list(shape)))
            data = projections(7000 + i, dim, len(levels) * books, bias) if attrs["has_projections"] else {}
            weights = {n[6:]: v for n, v in data.items()}
            prepare = lambda z: linear(to_last(z), weights, "project_in").reshape(-1, len(levels))
            z, r, found = draw(1000 * i + 11, shape, scale, levels, "lucidrains", prepare=prepare)
            attrs.update(found, dequantize_ok=int(not (books > 1 and attrs["has_projections"])))
            yield Case(name, attrs, {"in/z": z, "in/r": r, **data})
        yield from MotionMillion.grids()

    @staticmethod
    def grids():
        for name, levels in (
            ("grid_8655", [8, 6, 5, 5]),
            ("grid_8888", [8, 8, 8, 8]),
            ("quirk_truncation_26_27_5", [26, 27, 5]),
        ):
            line = torch.linspace(-5.5, 5.5, 400)
            safe = [v for v in line if margin(v.expand(len(levels)), levels, "lucidrains") > 1e-4]
            line = torch.cat([torch.stack(safe), torch.tensor([-50.0, 50.0, -1e4, 1e4, 1e-7, -1e-7])])
            z = line.expand(1, len(levels), len(line)).contiguous()
            yield Case(
                name,
                dict(
                    sized(dict(levels=levels, dim=len(levels), num_codebooks=1)),
                    note="same scalar in every dimension; loss=sum(out)",
                ),
                {"in/z": z},
            )


class Lucidrains:
    """Channel-last sequences (unless channel_first), channel-first images; symmetric codes, hard clamp, rotation."""

    INPUTS = [r"in/.*", r"param/.*"]
    ABOUT = {"module": "finite scalar quantization, lucidrains conventions"}
    tolerance = staticmethod(tolerance)

    @staticmethod
    def compute(case):
        a, params = case.attrs, parameters(case)
        bound = "symmetric" if a.get("preserve_symmetry") else "lucidrains"
        z = torch.tensor(case.data["in/z"]).requires_grad_()
        first = bool(a.get("channel_first")) or z.dim() > 3
        rotation = params.pop("orthogonal_rot").detach() if "orthogonal_rot" in params else None
        f = Forward(
            to_last(z) if first else z,
            a["levels"],
            a["num_codebooks"],
            params,
            bound,
            bool(a.get("bound_hard_clamp")),
            rotation,
        )
        place = to_first if first else lambda x: x
        out = place(f.out)
        (out * torch.tensor(case.data["in/r"])).sum().backward()
        results = {"out/out": out, "grad/z": z.grad, **{"grad/param/" + n: p.grad for n, p in params.items()}}
        if a.get("return_indices", 1):
            ids = f.merged(f.ids)
            results.update(
                {
                    "out/indices": ids,
                    "probe/indices": ids,
                    "probe/level_indices": levels_of(ids, f.levels),
                    "probe/indices_to_codes": place(f.decode()),
                    "out/implicit_codebook": f.implicit(),
                }
            )
        return results

    @staticmethod
    def cases():
        for i, (name, levels, dim, books, shape, options) in enumerate(
            [
                ("plain_865", [8, 6, 5], 3, 1, (2, 20, 3), {}),
                ("sym_8555", [8, 5, 5, 5], 4, 1, (2, 20, 4), dict(preserve_symmetry=1)),
                ("sym_hard_7433", [7, 4, 3, 3], 4, 1, (2, 20, 4), dict(preserve_symmetry=1, bound_hard_clamp=1)),
                ("hard_865", [8, 6, 5], 3, 1, (2, 20, 3), dict(bound_hard_clamp=1)),
                ("sym_level2", [2, 2, 2], 3, 1, (3, 16, 3), dict(preserve_symmetry=1)),
                ("c2_sym_proj10", [5, 5], 10, 2, (2, 9, 10), dict(preserve_symmetry=1)),
                ("img_proj7_nobias", [8, 6, 5], 7, 1, (2, 7, 4, 3), dict(projection_has_bias=0)),
                ("chfirst_75", [7, 5], 2, 1, (2, 2, 15), dict(channel_first=1)),
                ("ortho_555", [5, 5, 5], 3, 1, (2, 20, 3), dict(orthogonal_rotation=1)),
                ("noidx_54", [5, 4], 2, 1, (2, 10, 2), dict(return_indices=0)),
            ]
        ):
            yield Lucidrains.case(i, name, levels, dim, books, shape, options)

    @staticmethod
    def case(i, name, levels, dim, books, shape, options):
        attrs = dict(sized(dict(levels=levels, dim=dim, num_codebooks=books, shape=list(shape))), **options)
        data = (
            projections(8000 + i, dim, len(levels) * books, options.get("projection_has_bias", 1))
            if attrs["has_projections"]
            else {}
        )
        weights = {n[6:]: v for n, v in data.items()}
        if options.get("orthogonal_rotation"):
            torch.manual_seed(8100)
            data["param/orthogonal_rot"] = torch.linalg.qr(torch.randn(len(levels), len(levels)))[0]
        turn = data.get("param/orthogonal_rot", torch.eye(len(levels)))
        first = len(shape) > 3 or options.get("channel_first")
        prepare = lambda z: linear(to_last(z) if first else z, weights, "project_in").reshape(-1, len(levels)) @ turn
        bound = "symmetric" if options.get("preserve_symmetry") else "lucidrains"
        z, r, found = draw(1000 * i + 500, shape, 1.0, levels, bound, bool(options.get("bound_hard_clamp")), prepare)
        return Case(name, {**attrs, **found}, {"in/z": z, "in/r": r, **data})


class Bounds:
    """The three published bounds side by side on the same tokens: in/z [n, d], attribute `bound`."""

    INPUTS = [r"in/.*"]
    ABOUT = {"module": "finite scalar quantization: lucidrains (1+eps, atanh), google (1-eps, tan), symmetric"}
    tolerance = staticmethod(tolerance)

    @staticmethod
    def compute(case):
        a, z = case.attrs, torch.tensor(case.data["in/z"]).requires_grad_()
        hard = bool(a["hard"])
        codes, level = quantize(z, a["levels"], a["bound"], hard)
        (codes * torch.tensor(case.data["in/r"])).sum().backward()
        ids = ids_of(level, a["levels"])
        return {
            "out/out": codes,
            "out/indices": ids,
            "out/bounded": bounded(z, a["levels"], a["bound"], hard),
            "grad/z": z.grad,
            "probe/level_indices": level,
            "probe/indices_to_codes": codes_of(levels_of(ids, a["levels"]), a["levels"], a["bound"]),
        }

    @staticmethod
    def cases():
        sets = {
            "865": [8, 6, 5],
            "75555": [7, 5, 5, 5, 5],
            "3": [3],
            "88888855": [8, 8, 8, 8, 8, 8, 5, 5],
            "2_5": [2, 5],
        }
        for i, (label, levels) in enumerate(sets.items()):
            for bound, hard in (("lucidrains", 0), ("google", 0), ("symmetric", 0), ("symmetric", 1)):
                if bound == "lucidrains" and 2 in levels:
                    continue
                z, r, found = draw(
                    1000 * i + 77, (48 if len(levels) < 8 else 16, len(levels)), 1.2, levels, bound, bool(hard)
                )
                attrs = dict(
                    levels=levels, bound=bound, hard=hard, codebook_size=math.prod(levels), loss="sum(out*r)", **found
                )
                yield Case(f"{bound}{'_hard' if hard else ''}_{label}", attrs, {"in/z": z, "in/r": r})
