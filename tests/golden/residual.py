"""Golden vectors of residual quantization, lucidrains conventions, written from the formulas. Tokens [B, n, D].

Layer i quantizes what the layers before it left over, r_i = x - q_0 - ... - q_(i-1), on a grid that is L^i times finer;
the sum of all q is the code. What is left over is taken without its gradient.
"""

import math

import torch
import torch.nn.functional as F

import finite_scalar as fsq
import vector
from vectors import Case

MARGIN = 1e-3  # in widths of a level of the layer


class Scalar:
    """ResidualFSQ: `hard` clamps softly once, then every layer clamps; else every layer has its tanh."""

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
        if self.hard:
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
            "probe/codes": torch.stack(f.codes),
            "probe/output": out,
            "grad/x": f.x.grad,
            "attrs": {"rounding_margin": f.margin},
        }
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


class Vector:
    """Residual vector quantization with a codebook a layer, three steps. `kind` says what moves the codebooks: nothing
    here but the `gradient`, whose gradients are results; `ema` (the classic one); `reset` (T2M-GPT's)."""

    INPUTS = [r"init/.*", r"step\d/in_.*"]
    ABOUT = {"module": "residual vector quantization, a codebook a layer"}
    tolerance = staticmethod(vector.tolerance)
    PARTS = {"gradient": ["codebook"], "ema": ["codebook", "count", "sum"], "reset": ["codebook", "count", "sum"]}

    @staticmethod
    def moved(a, x, ids, state):
        if a["kind"] == "ema":
            return dict(zip(("codebook", "count", "sum"), vector.Classic.moved(x, ids, state["count"], state["sum"], a["decay"], 1e-5)))
        old = (state["codebook"], state["sum"], state["count"])
        fresh, total, count = vector.T2mGpt.updated("QuantizeEMAReset", old, x, ids, a["decay"], x[: a["codebook_size"]])
        return {"codebook": fresh, "sum": total, "count": count}

    @staticmethod
    def one_step(case, at, state):
        """Results of the step, the state after it, and how close the nearest row was to another code."""
        a = case.attrs
        z = vector.leaf(case.data[at + "in_x"])
        codebooks = [s["codebook"].clone().requires_grad_() for s in state]
        rest, out, loss, every, after, least = z.reshape(-1, a["dim"]), 0, 0, [], [], float("inf")
        for s, code in zip(state, codebooks):
            ids = vector.nearest(rest, code)
            least = min(least, vector.gap(rest, code))
            q = code[ids]
            loss = loss + a["commitment_cost"] * F.mse_loss(rest, q.detach())
            if a["kind"] == "gradient":
                loss = loss + F.mse_loss(q, rest.detach())
            else:
                after.append(Vector.moved(a, rest.detach(), ids, s))
            out = out + vector.straight_through(q, rest)
            rest = rest - q.detach()
            every.append(ids)
        (loss + (out.view_as(z) * torch.tensor(case.data[at + "in_r"])).sum()).backward()
        results = {
            "quantized": out.view_as(z),
            "indices": torch.stack(every, -1).view(*z.shape[:-1], len(state)),
            "loss": loss,
            "grad_x": z.grad,
        }
        for i, code in enumerate(codebooks):
            if a["kind"] == "gradient":
                results[f"grad/layers.{i}.codebook"] = code.grad
            else:
                results.update({f"after/layers.{i}.{k}": v for k, v in after[i].items()})
        return results, after or state, least

    @staticmethod
    def compute(case):
        a, results, least = case.attrs, {}, float("inf")
        state = [
            {k: torch.tensor(case.data[f"init/layers.{i}.{k}"]) for k in Vector.PARTS[a["kind"]]}
            for i in range(a["num_quantizers"])
        ]
        for step in range(3):
            found, state, near = Vector.one_step(case, f"step{step}/", state)
            results.update({f"step{step}/" + k: v for k, v in found.items()})
            least = min(least, near)
        return {**results, "attrs": {"min_gap": least}}

    @staticmethod
    def drawn(seed, attrs):
        codes, dim, data = attrs["codebook_size"], attrs["dim"], {}
        for i in range(attrs["num_quantizers"]):
            first = torch.randn(codes, dim) / 2**i
            state = {"codebook": first, "count": torch.ones(codes), "sum": first}
            data.update({f"init/layers.{i}.{k}": state[k] for k in Vector.PARTS[attrs["kind"]]})
        for step in range(3):
            data.update({f"step{step}/in_x": torch.randn(2, 9, dim), f"step{step}/in_r": torch.randn(2, 9, dim)})
        return Case(f"{attrs['kind']}_{attrs['num_quantizers']}", dict(attrs, seed=seed), data)

    @staticmethod
    def cases():
        for kind, layers, codes, dim, decay, cost in [
            ("gradient", 3, 10, 4, 0, 0.25),
            ("ema", 2, 12, 6, 0.8, 0.25),
            ("ema", 9, 6, 5, 0.9, 1.0),
            ("reset", 2, 12, 4, 0.99, 0.02),
            ("reset", 3, 10, 6, 0.8, 0.5),
        ]:
            attrs = dict(kind=kind, num_quantizers=layers, codebook_size=codes, dim=dim, decay=decay, commitment_cost=cost)
            yield vector.settled((Vector.compute, lambda seed: Vector.drawn(seed, attrs)), f"{kind}_{layers}", 4000, 1e-4)
