"""Golden vectors of residual and grouped quantization, lucidrains conventions, written from the formulas. Tokens
[B, n, D].

Layer i quantizes what the layers before it left over, r_i = x - q_0 - ... - q_(i-1); the sum of all q is the code. What
is left over is taken without its gradient. Groups are equal parts of the D channels, each with layers of its own.
"""

import math

import torch
import torch.nn.functional as F

import finite_scalar as fsq
import lookup_free as signs
import vector
from vectors import Case

MARGIN = 1e-3  # in widths of a level of the layer


def a_layers(case):
    return case.attrs.get("num_quantizers", 1)


class Scalar:
    """ResidualFSQ, with a grid that is L^i times finer in layer i: `hard` clamps softly once, then every layer clamps;
    else every layer has its tanh. One layer is a plain grid, and may have noise: where in/hit is below
    `noise_dropout`, in/noise - 1/2 is added to the code."""

    INPUTS = [r"in/.*", r"init/.*"]
    ABOUT = {"module": "residual finite scalar quantization, lucidrains conventions"}

    def __init__(self, case):
        a = case.attrs
        self.levels, self.hard = a["levels"], bool(a.get("bound_hard_clamp", 1))
        self.params = {n[5:]: torch.tensor(v).requires_grad_() for n, v in case.data.items() if n.startswith("init/")}
        self.x = torch.tensor(case.data["in/x"]).requires_grad_()
        kept = a["num_quantizers"]
        if "in/more" in case.data:
            kept = a["dropout"] + int(case.data["in/more"])
        n = torch.tensor(self.levels)
        rest = fsq.linear(self.x, self.params, "project_in")
        if self.hard and a["num_quantizers"] > 1:
            c = 1 + 1 / (n - 1)
            rest = torch.tanh(rest / c) * c
        self.codes, self.ids, self.margin = [], [], 1.0
        for i in range(a["num_quantizers"]):
            scale = n.float() ** -i
            code, level = fsq.quantize(rest / scale, self.levels, "symmetric", self.hard)
            ids = fsq.ids_of(level, self.levels)
            self.margin = min(self.margin, self.gap(rest.detach() / scale))
            self.codes.append(code * scale if i < kept else torch.zeros_like(code))
            self.ids.append(ids if i < kept else torch.full_like(ids, -1))
            rest = rest - (code * scale).detach()
        self.plain = sum(self.codes).detach()
        if "in/hit" in case.data:
            hit, noise = (torch.tensor(case.data[k]).view_as(code) for k in ("in/hit", "in/noise"))
            exact = 2 * level / (n - 1) - 1  # code beside it may be 1 and a rounding, where a clamp has no gradient
            noisy = torch.where(hit < a["noise_dropout"], exact + noise - 0.5, exact)
            self.codes = [(code - code.detach()) * (noisy.abs() <= 1) + noisy.clamp(-1, 1)]

    def gap(self, z):
        """As fsq.margin; what the clamp takes away is far from any boundary."""
        inside = z[z.abs() < 1] if self.hard else z
        n = torch.tensor(self.levels).expand(z.shape)[z.abs() < 1] if self.hard else torch.tensor(self.levels)
        t = inside.double() if self.hard else torch.tanh(inside.double())
        b = (n - 1) * (t + 1) / 2 + 0.5
        return float((b - b.round()).abs().min())

    def outward(self, codes):
        return fsq.linear(codes, self.params, "project_out")

    @staticmethod
    def tolerance(case, path):
        return 1e-5, 1.0

    @staticmethod
    def compute(case):
        f = Scalar(case)
        out = f.outward(sum(f.codes))
        (out * torch.tensor(case.data["in/r"])).sum().backward()
        results = {
            "out/quantized": out,
            "out/indices": torch.stack(f.ids, -1),
            "out/losses": torch.zeros(()),
            "probe/output": f.outward(f.plain),
            "grad/x": f.x.grad,
            "attrs": {"rounding_margin": f.margin},
        }
        if a_layers(case) > 1:
            results["probe/codes"] = torch.stack(f.codes)
        results.update({"grad/param/" + n: p.grad for n, p in f.params.items()})
        return results

    @staticmethod
    def drawn(name, levels, layers, dim, draws, scale, **options):
        for seed in range(1000):
            torch.manual_seed(seed)
            data = {"in/x": torch.randn(2, 9, dim) * scale, "in/r": torch.randn(2, 9, dim), **draws}
            if dim != len(levels):
                data.update({n.replace("param", "init"): v for n, v in fsq.projections(seed, dim, len(levels), 1).items()})
            case = Case(name, dict(levels=levels, num_quantizers=layers, dim=dim, klass="ResidualFSQ", **options), data)
            if Scalar(case).margin > MARGIN:
                return case
        raise RuntimeError(f"{name}: no seed keeps a margin of {MARGIN}")

    @staticmethod
    def cases():
        yield Scalar.drawn("l8553_proj7", [8, 5, 5, 3], 3, 7, {}, 1.0)
        yield Scalar.drawn("l33_layers5", [3, 3], 5, 2, {}, 1.0)
        yield Scalar.drawn("l2_layers9", [2], 9, 1, {}, 0.7)
        yield Scalar.drawn("l865_one_layer", [8, 6, 5], 1, 3, {}, 2.0)
        yield Scalar.drawn("l54_tanh", [5, 4], 3, 2, {}, 1.0, bound_hard_clamp=0)
        for more in (0, 2, 3):
            draws = {"in/more": torch.tensor(more, dtype=torch.int32)}
            yield Scalar.drawn(f"l654_dropout_{1 + more}_of_4", [6, 5, 4], 4, 3, draws, 1.0, dropout=1)
        torch.manual_seed(5)
        for name, levels, dim, p, hard in (("noise_l85", [8, 5], 2, 0.4, 1), ("noise_l22_proj5", [2, 2], 5, 0.9, 0)):
            draws = {"in/hit": torch.rand(18, 1, len(levels)), "in/noise": torch.rand(18, 1, len(levels))}
            yield Scalar.drawn(name, levels, 1, dim, draws, 1.0, noise_dropout=p, bound_hard_clamp=hard)


class Vector:
    """Residual vector quantization, three steps. `kind` says what moves the codebooks: nothing here but the `gradient`,
    whose gradients are results; `ema` (the classic one); `reset` (T2M-GPT's). Each layer of each group has a codebook,
    or (`shared_codebook`) each group has one, whose counts and sums are those of all its layers."""

    INPUTS = [r"init/.*", r"step\d/in_.*"]
    ABOUT = {"module": "residual vector quantization, in groups"}
    tolerance = staticmethod(vector.tolerance)
    PARTS = {"gradient": ["codebook"], "ema": ["codebook", "count", "sum"], "reset": ["codebook", "count", "sum"]}

    @staticmethod
    def place(a, group, layer):
        """Where the codebook of a layer lies."""
        groups = f"groups.{group}." if a.get("groups", 1) > 1 else ""
        return groups + ("" if a.get("shared_codebook", 0) or a["num_quantizers"] == 1 else f"layers.{layer}.")

    @staticmethod
    def places(a):
        pairs = [(g, i) for g in range(a.get("groups", 1)) for i in range(a["num_quantizers"])]
        return list(dict.fromkeys(Vector.place(a, *pair) for pair in pairs))

    @staticmethod
    def moved(a, x, ids, state, first):
        if a["kind"] == "ema":
            return dict(zip(("codebook", "count", "sum"), vector.Classic.moved(x, ids, state["count"], state["sum"], a["decay"], 1e-5)))
        old = (state["codebook"], state["sum"], state["count"])
        fresh, total, count = vector.T2mGpt.updated("QuantizeEMAReset", old, x, ids, a["decay"], first)
        return {"codebook": fresh, "sum": total, "count": count}

    @staticmethod
    def one_step(case, at, state):
        """Results of the step, the state after it, and how close the nearest row was to another code."""
        a = case.attrs
        z = vector.leaf(case.data[at + "in_x"])
        codebooks = {p: s["codebook"].clone().requires_grad_() for p, s in state.items()}
        met = {p: [] for p in state}
        parts, loss, every, least = [], 0, [], float("inf")
        for g, rest in enumerate(z.reshape(-1, a["dim"]).chunk(a.get("groups", 1), -1)):
            out = 0
            for i in range(a["num_quantizers"]):
                place = Vector.place(a, g, i)
                code = codebooks[place]
                ids = vector.nearest(rest, code)
                least = min(least, vector.gap(rest, code))
                q = code[ids]
                loss = loss + a["commitment_cost"] * F.mse_loss(rest, q.detach())
                if a["kind"] == "gradient":
                    loss = loss + F.mse_loss(q, rest.detach())
                met[place].append((rest.detach(), ids))
                out = out + vector.straight_through(q, rest)
                rest = rest - q.detach()
                every.append(ids)
            parts.append(out)
        out = torch.cat(parts, -1)
        (loss + (out.view_as(z) * torch.tensor(case.data[at + "in_r"])).sum()).backward()
        results = {
            "quantized": out.view_as(z),
            "indices": torch.stack(every, -1).view(*z.shape[:-1], len(every)),
            "loss": loss,
            "grad_x": z.grad,
        }
        if a["kind"] == "gradient":
            results.update({f"grad/{p}codebook": c.grad for p, c in codebooks.items()})
            return results, state, least
        after = {}
        for p, rows in met.items():
            x, ids = torch.cat([r for r, _ in rows]), torch.cat([k for _, k in rows])
            after[p] = Vector.moved(a, x, ids, state[p], rows[0][0][: a["codebook_size"]])
            results.update({f"after/{p}{k}": v for k, v in after[p].items()})
        return results, after, least

    @staticmethod
    def compute(case):
        a, results, least = case.attrs, {}, float("inf")
        state = {
            p: {k: torch.tensor(case.data[f"init/{p}{k}"]) for k in Vector.PARTS[a["kind"]]} for p in Vector.places(a)
        }
        for step in range(3):
            found, state, near = Vector.one_step(case, f"step{step}/", state)
            results.update({f"step{step}/" + k: v for k, v in found.items()})
            least = min(least, near)
        return {**results, "attrs": {"min_gap": least}}

    @staticmethod
    def drawn(name, seed, attrs):
        codes, dim, data = attrs["codebook_size"], attrs["dim"], {}
        for i, place in enumerate(Vector.places(attrs)):
            first = torch.randn(codes, dim // attrs.get("groups", 1)) / 2 ** (i % attrs["num_quantizers"])
            state = {"codebook": first, "count": torch.ones(codes), "sum": first}
            data.update({f"init/{place}{k}": state[k] for k in Vector.PARTS[attrs["kind"]]})
        for step in range(3):
            data.update({f"step{step}/in_x": torch.randn(2, 9, dim), f"step{step}/in_r": torch.randn(2, 9, dim)})
        return Case(name, dict(attrs, seed=seed), data)

    @staticmethod
    def cases():
        for kind, layers, codes, dim, decay, cost, more in [
            ("gradient", 3, 10, 4, 0, 0.25, {}),
            ("ema", 2, 12, 6, 0.8, 0.25, {}),
            ("ema", 9, 6, 5, 0.9, 1.0, {}),
            ("reset", 2, 12, 4, 0.99, 0.02, {}),
            ("reset", 3, 10, 6, 0.8, 0.5, {}),
            ("gradient", 3, 8, 4, 0, 0.25, dict(shared_codebook=1)),
            ("ema", 2, 9, 5, 0.8, 0.25, dict(shared_codebook=1)),
            ("reset", 2, 9, 4, 0.9, 0.25, dict(shared_codebook=1)),
            ("gradient", 1, 7, 6, 0, 0.5, dict(groups=2)),
            ("ema", 2, 6, 8, 0.8, 0.25, dict(groups=2)),
            ("reset", 2, 6, 9, 0.8, 0.25, dict(groups=3)),
            ("ema", 2, 8, 6, 0.8, 0.25, dict(groups=2, shared_codebook=1)),
        ]:
            attrs = dict(kind=kind, num_quantizers=layers, codebook_size=codes, dim=dim, decay=decay, commitment_cost=cost, **more)
            name = f"{kind}_{layers}" + "".join(f"_{k.split('_')[0]}" for k in more)
            build = lambda seed: Vector.drawn(name, seed, attrs)
            yield vector.settled((Vector.compute, build), name, 4000, 1e-4)


class Signs:
    """ResidualLFQ and GroupedResidualLFQ: layer i has the scale 2^-i, of its soft clamp, too. Projections are a
    group's."""

    INPUTS = [r"in/.*", r"init/.*"]
    ABOUT = {"module": "residual lookup-free quantization, lucidrains conventions"}
    tolerance = staticmethod(vector.tolerance)

    @staticmethod
    def layer(a, i, rest):
        o = dict(
            bits=a["bits"],
            books=1,
            temperature=a["inv_temperature"],
            spherical=a.get("spherical", 0),
            scale=2.0**-i,
            weight=0.1,
            gamma=1.0,
            commitment=a.get("commitment_loss_weight", 0.25),
            clamp=a.get("soft_clamp_input_value", 0.0) / 2**i,
            softplus=0,
        )
        return signs.Pass(rest, {}, None, o), float(signs.before_signs(rest, {}, None, o).detach().abs().min())

    @staticmethod
    def compute(case):
        a, groups = case.attrs, case.attrs.get("groups", 1)
        params = {n[5:]: torch.tensor(v).requires_grad_() for n, v in case.data.items() if n.startswith("init/")}
        x = vector.leaf(case.data["in/x"])
        outs, ids, loss, margin = [], [], 0, float("inf")
        for g, part in enumerate(x.chunk(groups, -1)):
            own = {n.replace(f"groups.{g}.", ""): p for n, p in params.items() if groups == 1 or n.startswith(f"groups.{g}.")}
            rest, codes = fsq.linear(part, own, "project_in"), 0
            for i in range(a["num_quantizers"]):
                f, least = Signs.layer(a, i, rest)
                rest, codes = rest - f.out.detach(), codes + f.out
                ids.append(f.ids.squeeze(-1))
                loss, margin = loss + f.loss, min(margin, least)
            outs.append(fsq.linear(codes, own, "project_out"))
        out = torch.cat(outs, -1)
        (loss + (out * torch.tensor(case.data["in/r"])).sum()).backward()
        return {
            "out/quantized": out,
            "out/indices": torch.stack(ids, -1),
            "out/losses": loss,
            "probe/output": out,
            "grad/x": x.grad,
            **{"grad/param/" + n: p.grad for n, p in params.items()},
            "attrs": {"sign_margin": margin},
        }

    @staticmethod
    def drawn(name, bits, layers, dim, **options):
        groups = options.get("groups", 1)
        for seed in range(4000):
            torch.manual_seed(seed)
            data = {"in/x": torch.randn(2, 9, dim), "in/r": torch.randn(2, 9, dim)}
            for g in range(groups):
                place = f"init/groups.{g}." if groups > 1 else "init/"
                if dim != bits * groups:
                    drawn = fsq.projections(seed + g, dim // groups, bits, 1)
                    data.update({n.replace("param/", place): v for n, v in drawn.items()})
            attrs = dict(bits=bits, num_quantizers=layers, dim=dim, inv_temperature=3.0, **options)
            case = Case(name, attrs, data)
            if Signs.compute(case)["attrs"]["sign_margin"] > signs.MARGIN:
                return case
        raise RuntimeError(f"{name}: no seed keeps the margin")

    @staticmethod
    def cases():
        yield Signs.drawn("bits4_layers3", 4, 3, 4)
        yield Signs.drawn("bits3_layers2_proj5", 3, 2, 5)
        yield Signs.drawn("soft_clamp", 3, 3, 3, soft_clamp_input_value=2.0)
        yield Signs.drawn("spherical", 4, 2, 4, spherical=1)
        yield Signs.drawn("groups2_layers2", 3, 2, 6, groups=2)
        yield Signs.drawn("groups3_proj", 2, 2, 12, groups=3)
