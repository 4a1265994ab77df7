"""Golden vectors of sign codes: lookup-free quantization in the two peers' conventions, and binary spherical
quantization as its paper has it.

Written from their formulas, with the table of all codes that the C code does without. d bits, s the scale, T the
inverse temperature; p = softmax over the codes of 2 T z.code; entropies take log(max(p, 1e-5)), the paper's log(p + 1e-8).
"""

import math

import torch
import torch.nn.functional as F

from finite_scalar import linear, to_first, to_last
from vectors import Case

MARGIN = 4e-4  # least distance of any drawn number from a change of sign


def tolerance(case, path):
    return 1e-5, 1.0


def signs(bits):
    """[2^bits, bits]: the first number is the most significant bit"""
    places = 2 ** torch.arange(bits - 1, -1, -1)
    return ((torch.arange(2**bits)[:, None] & places) != 0).float() * 2 - 1


def ids_of(q):
    places = 2 ** torch.arange(q.shape[-1] - 1, -1, -1)
    return ((q > 0).long() * places).sum(-1)


def entropy(p):
    return -(p * p.clamp(min=1e-5).log()).sum(-1)


def unit(x):
    return F.normalize(x, dim=-1)


def settings(case, commitment):
    """What the attributes say, with the peers' defaults."""
    a = case.attrs
    return dict(
        bits=a["codebook_dim"],
        books=a.get("num_codebooks", 1),
        temperature=a["inv_temperature"],
        spherical=a.get("spherical", 0),
        scale=a.get("codebook_scale", 1.0),
        weight=a.get("entropy_loss_weight", 0.1),
        gamma=a.get("diversity_gamma", 1.0),
        commitment=a.get("commitment_loss_weight", commitment),
        clamp=a.get("soft_clamp_input_value", 0.0),
        softplus=a.get("experimental_softplus_entropy_loss", 0),
        offset=a.get("entropy_loss_offset", 5.0),
    )


def before_signs(tokens, params, rotation, o):
    """tokens [b, n.., dim] -> [b, n.., books, bits]"""
    z = linear(tokens, params, "project_in")
    if o["clamp"]:
        z = torch.tanh(z / o["clamp"]) * o["clamp"]
    z = z.reshape(*z.shape[:-1], o["books"], o["bits"])
    z = z if rotation is None else z @ rotation
    return unit(z) * o["scale"] if o["spherical"] else z


class Pass:
    """Tokens [b, n.., dim] -> out, ids and the parts of the loss."""

    def __init__(self, tokens, params, rotation, o):
        place = (lambda c: unit(c) * o["scale"]) if o["spherical"] else (lambda c: c)
        z = before_signs(tokens, params, rotation, o)
        hard = torch.where(z > 0, o["scale"], -o["scale"])
        self.ids, hard = ids_of(hard), place(hard)
        outward = lambda c: linear((c if rotation is None else c @ rotation.t()).flatten(-2), params, "project_out")
        self.out, self.decoded = outward(z + (hard - z).detach()), outward(hard)
        logits = 2 * o["temperature"] * z @ place(signs(o["bits"]) * o["scale"]).t()
        p = logits.softmax(-1).flatten(0, -3)
        self.sample, self.batch = entropy(p).mean(), entropy(p.mean(0)).mean()
        self.penalty = self.sample - o["gamma"] * self.batch
        if o["softplus"]:
            self.penalty = F.softplus(self.penalty + o["offset"])
        self.commitment = F.mse_loss(z, hard.detach()) if o["commitment"] else torch.zeros(())
        self.loss = o["weight"] * self.penalty + o["commitment"] * self.commitment


def turned(params):
    return params.pop("orthogonal_rot").detach() if "orthogonal_rot" in params else None


def bit_values(params):
    """Upstream's buffer of what each bit is worth, where a file has it."""
    return params.pop("mask", None)


class Common:
    INPUTS = [r"in/.*", r"param/.*"]
    tolerance = staticmethod(tolerance)

    @classmethod
    def compute(cls, case):
        params = {n[6:]: torch.tensor(v) for n, v in case.data.items() if n.startswith("param/")}
        bit_values(params)
        rotation = turned(params)
        params = {n: v.requires_grad_() for n, v in params.items()}
        x = torch.tensor(case.data["in/x"]).requires_grad_()
        place = to_first if cls.FIRST else lambda y: y
        f = Pass(to_last(x) if cls.FIRST else x, params, rotation, settings(case, cls.COMMITMENT))
        out, ids = place(f.out), f.ids.squeeze(-1)
        (f.loss + (out * torch.tensor(case.data["in/r"])).sum()).backward()
        results = {
            "out/out": out,
            "out/indices": ids,
            "out/aux_loss": f.loss,
            "out/commitment": f.commitment,
            "eval/out": place(f.decoded),
            "eval/indices": ids,
            "eval/aux_loss": torch.zeros(()),
            "probe/indices_to_codes": f.decoded,
            "grad/x": x.grad,
            **{"grad/param/" + n: p.grad for n, p in params.items()},
        }
        if case.attrs.get("entropy_loss_weight", 1):
            results.update({"out/per_sample_entropy": f.sample, "out/batch_entropy": f.batch})
        return {**results, **cls.more(case, f)}

    @classmethod
    def case(cls, i, name, bits, books, dim, tokens, options):
        attrs = dict(
            codebook_dim=bits, codebook_size=2**bits, num_codebooks=books, dim=dim, has_projections=int(dim != bits * books)
        )
        attrs = {**attrs, "inv_temperature": 100.0, **options}
        for seed in range(1000 * i + cls.SEED, 1000 * i + cls.SEED + 1000):
            torch.manual_seed(seed)
            x, r = torch.randn(2, tokens, dim), torch.randn(2, tokens, dim)
            params = {}
            if attrs["has_projections"]:
                for part, o, n in (("project_in", bits * books, dim), ("project_out", dim, bits * books)):
                    params[part + ".weight"] = torch.randn(o, n) / n**0.5
                    if attrs.get("projection_has_bias", 1):
                        params[part + ".bias"] = torch.randn(o) * 0.1
            rotation = torch.linalg.qr(torch.randn(bits, bits))[0] if attrs.get("orthogonal_rotation") else None
            found = Case(name, attrs, {})
            margin = float(before_signs(x, params, rotation, settings(found, cls.COMMITMENT)).abs().min())
            if margin > MARGIN:
                break
        else:
            raise RuntimeError(f"{name}: no seed leaves a margin of {MARGIN}")
        if rotation is not None:
            params["orthogonal_rot"] = rotation
        data = {"in/x": to_first(x) if cls.FIRST else x, "in/r": to_first(r) if cls.FIRST else r}
        return Case(name, dict(attrs, sign_margin=margin), {**data, **{"param/" + n: v for n, v in params.items()}})

    @classmethod
    def cases(cls):
        for i, row in enumerate(cls.ROWS):
            yield cls.case(i, *row)


class Lucidrains(Common):
    """Channel-last tokens; no commitment unless asked for."""

    ABOUT = {"module": "lookup-free quantization, lucidrains conventions"}
    FIRST, COMMITMENT, SEED = False, 0.0, 31
    ROWS = [
        ("plain_5", 5, 1, 5, 12, {}),
        ("one_bit", 1, 1, 1, 9, dict(inv_temperature=2.0)),
        ("c3_proj7", 4, 3, 7, 8, dict(inv_temperature=4.0, entropy_loss_weight=0.3, diversity_gamma=2.5)),
        ("scaled_commit", 3, 1, 3, 11, dict(codebook_scale=0.5, commitment_loss_weight=0.7, inv_temperature=9.0)),
        ("soft_clamp", 5, 1, 5, 9, dict(soft_clamp_input_value=1.5, inv_temperature=0.5, commitment_loss_weight=0.25)),
        ("softplus", 4, 2, 8, 9, dict(experimental_softplus_entropy_loss=1, entropy_loss_offset=1.5, inv_temperature=6.0)),
        ("ortho_nobias", 4, 1, 6, 13, dict(orthogonal_rotation=1, projection_has_bias=0, inv_temperature=5.0)),
        ("spherical_c2_proj9", 5, 2, 9, 8, dict(spherical=1, codebook_scale=2.0, commitment_loss_weight=1.0)),
        ("no_entropy", 3, 1, 3, 7, dict(entropy_loss_weight=0.0, commitment_loss_weight=1.0)),
    ]

    @staticmethod
    def more(case, f):
        return {}


class MotionMillion(Common):
    """Channel-first tokens; commitment 0.25; the share of used codes."""

    ABOUT = {"module": "lookup-free quantization, MotionMillion conventions"}
    FIRST, COMMITMENT, SEED = True, 0.25, 57
    ROWS = [
        ("plain_6", 6, 1, 6, 14, {}),
        ("c2_proj5", 3, 2, 5, 9, dict(inv_temperature=8.0)),
        ("spherical_7", 7, 1, 7, 10, dict(spherical=1)),
    ]

    @staticmethod
    def more(case, f):
        used = torch.bincount(f.ids.flatten(), minlength=case.attrs["codebook_size"]) > 0
        return {"out/activate": used.float().mean(), "out/entropy_aux_loss": f.penalty}


class Spherical:
    """Zhao et al. 2024: one sphere for all bits; ids and the batch's entropy by groups of bits. Tokens [b, n, bits]."""

    ABOUT = {"module": "binary spherical quantization, analytical entropy of a sample, entropy of the batch by groups"}
    INPUTS = [r"in/.*"]
    tolerance = staticmethod(tolerance)

    @staticmethod
    def compute(case):
        a = case.attrs
        bits, group, T = a["embed_dim"], a["group_size"], a["inv_temperature"]
        x = torch.tensor(case.data["in/x"]).requires_grad_()
        z, m = unit(x), bits**-0.5
        hard = torch.where(z > 0, m, -m)
        out = z + (hard - z).detach()
        plus = torch.sigmoid(4 * T * m * z)
        sample = -(plus * (plus + 1e-8).log() + (1 - plus) * (1 - plus + 1e-8).log()).sum(-1).mean()
        by_group = z.reshape(-1, bits // group, group)
        p = (2 * T * m * by_group @ signs(group).t()).softmax(-1).mean(0)
        batch = -(p * (p + 1e-8).log()).sum()
        commitment = ((hard - z) ** 2).sum(-1).mean()
        penalty = a["gamma0"] * sample - a["gamma"] * batch
        loss = a["beta"] * commitment + a["zeta"] * penalty / T
        (loss + (out * torch.tensor(case.data["in/r"])).sum()).backward()
        return {
            "out/out": hard,
            "out/group_indices": ids_of(hard.reshape(*hard.shape[:-1], bits // group, group)),
            "out/loss": loss,
            "out/sample_entropy": sample,
            "out/batch_entropy": batch,
            "out/commitment": commitment,
            "grad/x": x.grad,
        }

    @staticmethod
    def cases():
        for i, (name, bits, group, options) in enumerate(
            [
                ("b6g6", 6, 6, {}),
                ("b12g4", 12, 4, dict(beta=0.5, inv_temperature=4.0)),
                ("b7g1", 7, 1, dict(gamma0=0.5, gamma=2.0, zeta=0.3)),
            ]
        ):
            attrs = dict(embed_dim=bits, group_size=group, beta=0.25, gamma0=1.0, gamma=1.0, zeta=0.1, inv_temperature=1.0)
            for seed in range(1000 * i + 83, 1000 * i + 1083):
                torch.manual_seed(seed)
                x, r = torch.randn(2, 10, bits), torch.randn(2, 10, bits)
                margin = float(unit(x).abs().min())
                if margin > MARGIN:
                    break
            yield Case(name, {**attrs, **options, "sign_margin": margin}, {"in/x": x, "in/r": r})
