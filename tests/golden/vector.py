"""Golden vectors of vector quantization: the classic VQ-VAE's two codebooks and the four quantizers of T2M-GPT.

Written from their formulas. N rows of width D, K codes; sg stops the gradient; every mean is over all N*D entries.
"""

import torch
import torch.nn.functional as F

from vectors import Case

GAP = 1e-3  # least difference between the best and the second best squared distance of any drawn row


def tolerance(case, path):
    return 1e-5, 1.0


def distances(x, code):
    return x.square().sum(1, keepdim=True) + code.square().sum(1) - 2 * x @ code.t()


def nearest(x, code):
    return distances(x, code).argmin(1)


def gap(x, code):
    two = distances(x.detach().double(), code.detach().double()).topk(2, dim=1, largest=False).values
    return float((two[:, 1] - two[:, 0]).min())


def perplexity(ids, codes, eps):
    p = torch.bincount(ids.flatten(), minlength=codes) / ids.numel()
    return torch.exp(-(p * torch.log(p + eps)).sum())


def straight_through(q, x):
    return x + (q - x).detach()


def rows(x):
    """[B, C, ...] -> [N, C]"""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def back(r, like):
    """rows -> the shape of `like`, [B, C, ...]"""
    return r.view(like.movedim(1, -1).shape).movedim(-1, 1)


def ids_like(ids, x):
    return ids.view(x.shape[0], *x.shape[2:])


def leaf(array):
    return torch.tensor(array).requires_grad_()


def counts_and_sums(x, ids, codes):
    """One-hot counts [K] and sums of rows [K, D]"""
    hot = F.one_hot(ids, codes).t().to(x.dtype)
    return hot.sum(1), hot @ x


def settled(make, name, tries=2000, least=GAP):
    """The case that make(seed) draws, from the first seed whose rows are all `least` away from a change of code."""
    compute, build = make
    for seed in range(tries):
        torch.manual_seed(seed)
        case = build(seed)
        found = compute(case)["attrs"]
        if min(found.values()) > least:
            return case
    raise RuntimeError(f"{name}: no seed below {tries} keeps a gap of {least}")


class Classic:
    """Image-shaped input [B, D, H, W]."""

    INPUTS = [r"in/.*", r"param/.*", r"init/.*", r"step\d/in_.*"]
    ABOUT = {"module": "vector quantization, classic VQ-VAE conventions"}
    tolerance = staticmethod(tolerance)

    @staticmethod
    def compute(case):
        return Classic.moving(case) if "init/_ema_w" in case.data else Classic.by_gradient(case)

    @staticmethod
    def by_gradient(case):
        z, code = leaf(case.data["in/z"]), leaf(case.data["param/embedding"])
        x = rows(z)
        ids = nearest(x, code)
        q = code[ids]
        loss = F.mse_loss(q, x.detach()) + case.attrs["commitment_cost"] * F.mse_loss(q.detach(), x)
        out = back(straight_through(q, x), z)
        (loss + (out * torch.tensor(case.data["in/r"])).sum()).backward()
        return {
            "out/quantized": out,
            "out/loss": loss,
            "out/indices": ids_like(ids, z),
            "out/perplexity": perplexity(ids, len(code), 1e-10),
            "grad/z": z.grad,
            "grad/embedding": code.grad,
            "attrs": {"min_gap": gap(x, code)},
        }

    @staticmethod
    def moving(case):
        a, results, least = case.attrs, {}, float("inf")
        code, n, w = (
            torch.tensor(case.data["init/" + k]) for k in ("_embedding.weight", "_ema_cluster_size", "_ema_w")
        )
        for step in range(3):
            at = f"step{step}/"
            z = leaf(case.data[at + "in_z"])
            x = rows(z)
            ids = nearest(x, code)
            q, least = code[ids], min(least, gap(x, code))
            loss = a["commitment_cost"] * F.mse_loss(q, x)
            out = back(straight_through(q, x), z)
            (loss + (out * torch.tensor(case.data[at + "in_r"])).sum()).backward()
            code, n, w = Classic.moved(x.detach(), ids, n, w, a["decay"], a["epsilon"])
            results.update(
                {
                    at + k: v
                    for k, v in {
                        "quantized": out,
                        "loss": loss,
                        "indices": ids_like(ids, z),
                        "perplexity": perplexity(ids, len(code), 1e-10),
                        "grad_z": z.grad,
                        "after/_embedding.weight": code,
                        "after/_ema_cluster_size": n,
                        "after/_ema_w": w,
                    }.items()
                }
            )
        return {**results, "attrs": {"min_gap": least}}

    @staticmethod
    def moved(x, ids, n, w, decay, eps):
        """The averages after a batch; the smoothed counts are kept, their total is taken before smoothing."""
        count, total = counts_and_sums(x, ids, len(n))
        n = n * decay + (1 - decay) * count
        n = (n + eps) / (n.sum() + len(n) * eps) * n.sum()
        w = w * decay + (1 - decay) * total
        return w / n.unsqueeze(1), n, w

    @staticmethod
    def cases():
        for i, (codes, width, shape, cost, spread) in enumerate(
            [(32, 8, (4, 5), 0.25, 1.0), (48, 12, (3, 4), 0.25, 1.0), (16, 3, (3, 3), 1.0, 0.6)]
        ):

            def build(seed, codes=codes, width=width, shape=shape, cost=cost, spread=spread):
                attrs = dict(
                    num_embeddings=codes,
                    embedding_dim=width,
                    commitment_cost=cost,
                    seed=seed,
                    loss="loss + sum(quantized*r)",
                )
                drawn = {n: torch.randn(2, width, *shape) * s for n, s in (("in/z", spread), ("in/r", 1.0))}
                return Case(f"vq_{i}", attrs, {**drawn, "param/embedding": torch.randn(codes, width) * spread})

            yield settled((Classic.by_gradient, build), f"vq_{i}")
        for i, (codes, width, shape, decay) in enumerate([(16, 6, (4, 4), 0.99), (20, 5, (3, 4), 0.8)]):

            def build(seed, codes=codes, width=width, shape=shape, decay=decay):
                attrs = dict(
                    num_embeddings=codes,
                    embedding_dim=width,
                    commitment_cost=0.25,
                    decay=decay,
                    epsilon=1e-5,
                    seed=seed,
                    loss="loss + sum(quantized*r); quantized uses the codebook BEFORE the update",
                )
                data = {
                    "init/_embedding.weight": torch.randn(codes, width),
                    "init/_ema_w": torch.randn(codes, width),
                    "init/_ema_cluster_size": torch.zeros(codes),
                }
                for step in range(3):
                    data.update(
                        {
                            f"step{step}/in_z": torch.randn(2, width, *shape),
                            f"step{step}/in_r": torch.randn(2, width, *shape),
                        }
                    )
                return Case(f"vq_ema_{i}", attrs, data)

            yield settled((Classic.moving, build), f"vq_ema_{i}")


class T2mGpt:
    """Sequences [B, D, T]. The codebook starts from the first batch; rows of a batch replace unused codes, in order."""

    INPUTS = [r"in/.*", r"param/.*", r"step\d/in_.*", r"eval/in_.*", r".*_noise"]
    ABOUT = {"module": "vector quantization, T2M-GPT conventions"}
    tolerance = staticmethod(tolerance)
    LOSS = "commit_loss + sum(out*r); step indices are relative to the codebook before the step's update"

    @staticmethod
    def compute(case):
        return T2mGpt.original(case) if case.attrs["klass"] == "Quantizer" else T2mGpt.three_steps(case)

    @staticmethod
    def original(case):
        z, code = leaf(case.data["in/x"]), leaf(case.data["param/embedding"])
        x = rows(z)
        ids = nearest(x, code)
        q = code[ids]
        loss = F.mse_loss(q, x.detach()) + case.attrs["beta"] * F.mse_loss(q.detach(), x)
        out = back(straight_through(q, x), z)
        (loss + (out * torch.tensor(case.data["in/r"])).sum()).backward()
        return {
            "out/out": out,
            "out/loss": loss,
            "out/indices": ids_like(ids, z),
            "out/perplexity": perplexity(ids, len(code), 1e-10),
            "grad/x": z.grad,
            "grad/embedding": code.grad,
            "attrs": {"min_gap": gap(x, code)},
        }

    @staticmethod
    def tiled(x, codes, noise, scale):
        """The first K rows; too few rows are repeated, each copy with its own noise."""
        if len(x) >= codes:
            return x[:codes]
        copies = -(-codes // len(x))
        return (x.repeat(copies, 1) + torch.as_tensor(noise) * scale)[:codes]

    @staticmethod
    def updated(klass, state, x, ids, mu, spare):
        """codebook, sums and counts after a batch; `spare` are the rows for codes that count less than one."""
        code, total, count = state
        n, s = counts_and_sums(x, ids, len(code))
        if klass == "QuantizeReset":
            return torch.where((n >= 1).unsqueeze(1), code, spare), None, n
        total, count = mu * total + (1 - mu) * s, mu * count + (1 - mu) * n
        fresh = total / count.unsqueeze(1)
        if klass == "QuantizeEMAReset":
            fresh = torch.where((count >= 1).unsqueeze(1), fresh, spare)
        return fresh, total, count

    @staticmethod
    def state_results(at, state):
        names = ("codebook", "code_sum", "code_count")
        return {at + n: v for n, v in zip(names, state) if v is not None}

    @staticmethod
    def pass_once(z, code):
        x = rows(z)
        ids = nearest(x, code)
        q = code[ids]
        return (
            x,
            ids,
            {
                "commit_loss": F.mse_loss(x, q),
                "out": back(straight_through(q, x), z),
                "indices": ids_like(ids, z),
                "perplexity": perplexity(ids, len(code), 1e-7),
            },
        )

    @staticmethod
    def three_steps(case):
        a, d, results, least = case.attrs, case.data, {}, float("inf")
        codes, klass, scale = a["nb_code"], a["klass"], 0.01 / a["code_dim"] ** 0.5
        first = T2mGpt.tiled(rows(torch.tensor(d["step0/in_x"])), codes, d.get("init/tile_noise"), scale)
        state = (first, None if klass == "QuantizeReset" else first, torch.ones(codes))
        results.update(T2mGpt.state_results("init/", state))
        for step in range(3):
            at = f"step{step}/"
            z = leaf(d[at + "in_x"])
            x, ids, out = T2mGpt.pass_once(z, state[0])
            least = min(least, gap(x, state[0]))
            (out["commit_loss"] + (out["out"] * torch.tensor(d[at + "in_r"])).sum()).backward()
            x = x.detach()
            spare = None if klass == "QuantizeEMA" else T2mGpt.tiled(x, codes, d.get(at + "update_noise"), scale)
            state = T2mGpt.updated(klass, state, x, ids, a["mu"], spare)
            results.update({at + k: v for k, v in {**out, "grad_x": z.grad}.items()})
            results.update(T2mGpt.state_results(at, state))
        x, _, out = T2mGpt.pass_once(torch.tensor(d["eval/in_x"]), state[0])
        results.update({"eval/" + k: v for k, v in out.items()})
        return {**results, "attrs": {"min_gap": least, "eval_min_gap": gap(x, state[0])}}

    @staticmethod
    def drawn(name, klass, codes, width, shape, mu, seed):
        tokens, copies = shape[0] * shape[1], -(-codes // (shape[0] * shape[1]))
        draw = lambda: torch.randn(shape[0], width, shape[1])
        noise = lambda: torch.randn(copies * tokens, width)
        attrs = dict(
            klass=klass,
            nb_code=codes,
            code_dim=width,
            mu=mu,
            noise_std=0.01 / width**0.5,
            seed=seed,
            shape=[shape[0], width, shape[1]],
            loss=T2mGpt.LOSS,
        )
        data = {"init/tile_noise": noise()} if copies > 1 else {}
        for step in range(3):
            data.update({f"step{step}/in_x": draw(), f"step{step}/in_r": draw()})
            if copies > 1 and klass != "QuantizeEMA":
                data[f"step{step}/update_noise"] = noise()
        return Case(name, attrs, {**data, "eval/in_x": draw()})

    @staticmethod
    def cases():
        # tiled codebooks hold near copies of a row, so their gaps are as small as the noise: a lower bar there
        for name, klass, codes, width, shape, mu, least in [
            ("ema", "QuantizeEMA", 10, 6, (2, 12), 0.99, GAP),
            ("ema_tile", "QuantizeEMA", 16, 5, (2, 5), 0.99, 2e-5),
            ("ema_reset_big", "QuantizeEMAReset", 12, 8, (2, 15), 0.99, GAP),
            ("ema_reset_mu8", "QuantizeEMAReset", 16, 4, (3, 9), 0.8, GAP),
            ("ema_reset_tile", "QuantizeEMAReset", 20, 6, (2, 6), 0.99, 2e-5),
            ("reset", "QuantizeReset", 14, 6, (2, 11), 0.99, GAP),
        ]:
            build = lambda seed: T2mGpt.drawn(name, klass, codes, width, shape, mu, seed)
            yield settled((T2mGpt.three_steps, build), name, 4000, least)
        for i, (codes, width, beta) in enumerate([(16, 6, 1.0), (24, 4, 0.25)]):

            def build(seed, i=i, codes=codes, width=width, beta=beta):
                attrs = dict(klass="Quantizer", n_e=codes, e_dim=width, beta=beta, seed=seed, loss="loss + sum(out*r)")
                return Case(
                    f"quantizer_orig_{i}",
                    attrs,
                    {
                        "in/x": torch.randn(2, width, 11),
                        "in/r": torch.randn(2, width, 11),
                        "param/embedding": torch.randn(codes, width) * 0.7,
                    },
                )

            yield settled((T2mGpt.original, build), f"quantizer_orig_{i}")
