"""Golden vectors of whole motion tokenizers: the 1-D convolutional autoencoder of MotionMillion around finite scalar
quantization, three steps of AdamW; and the patcher by itself.

Written from the formulas; tensors are named as that model's checkpoints name them, so that vectors of the upstream
modules can be checked. x [B, T, C] frames, h [B, w, T] inside of the model. Beyond what upstream can do: upsampling by
the stride (upstream: always 2), patches in the model (upstream: only of size 1), norms other than LN with attention.
"""

import math

import torch
import torch.nn.functional as F

from finite_scalar import codes_of, ids_of, levels_of, margin, quantize
from vector import perplexity
from vectors import Case, difference, matches, stored

INPUTS = [r"in/.*", r"param/.*"]
ABOUT = {"module": "convolutional motion autoencoder, finite scalar quantization, patcher"}
MARGIN = 1e-3  # no sample of any step is nearer than this to a rounding boundary
LATER = [r"step[12]/(?!param_after/).*", r"eval/.*"]
STATE = ("running_mean", "running_var")
ACTIVATIONS = {"relu": F.relu, "silu": F.silu, "gelu": F.gelu}


class Net:
    """Weights by name, and what is common to all layers. While `drawing`, a weight that is not there yet is drawn."""

    def __init__(self, attrs, weights, drawing=False):
        self.a, self.w, self.drawing, self.training = attrs, weights, drawing, True
        self.causal, self.act = bool(attrs.get("causal")), ACTIVATIONS[attrs["activation"]]
        self.kernel, self.attends = attrs.get("kernel_size", 3), bool(attrs.get("use_attn"))
        self.patch, self.method = attrs.get("patch_size", 1), attrs.get("patch_method", "haar")
        self.start = 1 if attrs.get("use_patcher") else 0

    def weight(self, name, shape, fan_in):
        if self.drawing and name not in self.w:
            self.w[name] = (torch.rand(shape) * 2 - 1) / math.sqrt(fan_in)
        return self.w[name]

    def conv(self, name, x, out, k, stride=1, dilation=1, pad=(0, 0)):
        fan_in = x.shape[1] * k
        weight, bias = self.weight(name + ".weight", (out, x.shape[1], k), fan_in), self.weight(name + ".bias", (out,), fan_in)
        return F.conv1d(F.pad(x, pad), weight, bias, stride, dilation=dilation)

    def named(self, name):
        return name + ".conv" if self.causal else name

    def before(self, name, x, out, k, stride, dilation):
        """A causal convolution, by its own name."""
        return self.conv(name, x, out, k, stride, dilation, ((k - 1) * dilation + 1 - stride, 0))

    def outer(self, name, x, out):
        half = (self.kernel - 1) // 2
        if self.causal:  # the published code passes its padding as the dilation
            return self.before(self.named(name), x, out, self.kernel, 1, half)
        return self.conv(name, x, out, self.kernel, pad=(half, half))

    def norm(self, name, x):
        kind, c = self.a.get("norm"), x.shape[1]
        if not kind:
            return x
        if self.drawing and name + ".weight" not in self.w:
            self.w[name + ".weight"], self.w[name + ".bias"] = torch.rand(c) + 0.5, torch.randn(c) * 0.1
            if kind == "BN":
                self.w[name + ".running_mean"], self.w[name + ".running_var"] = torch.zeros(c), torch.ones(c)
        weight, bias = self.w[name + ".weight"], self.w[name + ".bias"]
        if kind == "LN":
            return F.layer_norm(x.transpose(1, 2), (c,), weight, bias, 1e-5).transpose(1, 2)
        if kind == "GN":
            return F.group_norm(x, 32, weight, bias, 1e-6)
        running = [self.w[f"{name}.{s}"] for s in STATE]
        return F.batch_norm(x, *running, weight, bias, self.training, 0.1, 1e-6)

    def stack(self, name, x):
        for i in range(self.a["depth"]):
            at, spread = f"{name}.model.{i}.", self.a["dilation_growth_rate"] ** (self.a["depth"] - 1 - i)
            h, w = self.act(self.norm(at + "norm1", x)), x.shape[1]
            if self.causal:
                h = self.before(at + "conv1", h, w, 3, 1, spread)
            else:
                pad = spread * (self.kernel - 1) // 2
                h = self.conv(at + "conv1", h, w, self.kernel, dilation=spread, pad=(pad, pad))
            x = x + self.conv(at + "conv2", self.act(self.norm(at + "norm2", h)), w, 1)
        return x

    def attention(self, name, x):
        h, c = self.norm(name + ".norm1", x), x.shape[1]
        q, k, v = (self.conv(self.named(f"{name}.{n}"), h, c, 1) for n in "qkv")
        scores = torch.einsum("bct,bcs->bts", q, k) / math.sqrt(c)
        if self.causal:
            scores = scores.masked_fill(torch.ones(scores.shape[1:]).triu(1).bool(), -math.inf)
        h = torch.einsum("bts,bcs->bct", scores.softmax(2), v)
        return x + self.conv(self.named(name + ".proj_out"), h, c, 1)

    def encode(self, x):
        a, w, s = self.a, self.a["width"], self.a["stride_t"]
        h = F.relu(self.outer(f"encoder.model.{self.start}", folded(x.transpose(1, 2), self.method, self.patch), w))
        for i in range(a["down_t"]):
            at, half = f"encoder.model.{self.start + 2 + i}.", s // 2
            if self.causal:
                h = self.before(self.named(at + "0"), h, w, 2 * s, s, max(half, 1))
            else:
                h = self.conv(at + "0", h, w, 2 * s, s, pad=(half, s - half))
            h = self.stack(at + "1", h)
            h = self.attention(at + "2", h) if self.attends else h
        if not self.attends:
            return self.outer(f"encoder.model.{self.start + 2 + a['down_t']}", h, a["code_dim"])
        h = self.attention("encoder.middle_blocks.1", self.stack("encoder.middle_blocks.0", h))
        h = F.relu(self.norm("encoder.end_norm", self.stack("encoder.middle_blocks.2", h)))
        return self.outer("encoder.end_blocks.1", h, a["code_dim"])

    def decode(self, h):
        a, w, first = self.a, self.a["width"], 4 if self.attends else 2
        h = self.outer("decoder.model.0", h, w)
        if self.attends:
            h = self.attention("decoder.model.2", self.stack("decoder.model.1", h))
            h = self.stack("decoder.model.3", h)
        else:
            h = F.relu(h)
        for i in range(a["down_t"]):
            at = f"decoder.model.{first + i}."
            h = self.stack(at + "0", h).repeat_interleave(a["stride_t"], 2)
            h = self.before(self.named(at + "2"), h, w, 3, 1, 1) if self.causal else self.conv(at + "2", h, w, 3, pad=(1, 1))
            h = self.attention(at + "3", h) if self.attends else h
        h = F.relu(self.outer(f"decoder.model.{first + a['down_t']}", h, w))
        h = self.outer(f"decoder.model.{first + a['down_t'] + 2}", h, a["input_dim"] * self.patch)
        return unfolded(h, self.method, self.patch).transpose(1, 2)

    def project(self, name, x, out):
        width = x.shape[-1]
        weight = self.weight(f"quantizer.{name}.weight", (out, width), width)
        return F.linear(x, weight, self.weight(f"quantizer.{name}.bias", (out,), width))

    def forward(self, x):
        """pred, encoder_out, ids, and the input of the rounding"""
        levels, z = self.a["levels"], self.encode(x)
        narrow = self.project("project_in", z.transpose(1, 2), len(levels))
        codes, level = quantize(narrow, levels)
        wide = self.project("project_out", codes, self.a["code_dim"])
        return self.decode(wide.transpose(1, 2)), z, ids_of(level, levels), narrow

    def from_ids(self, ids):
        levels = self.a["levels"]
        wide = self.project("project_out", codes_of(levels_of(ids, levels), levels), self.a["code_dim"])
        return self.decode(wide.transpose(1, 2))


# ---- patches ----


def folded(x, method, size):
    """[B, C, T] -> [B, C*size, T/size]"""
    if method == "rearrange":
        b, c, t = x.shape
        return x.reshape(b, c, t // size, size).transpose(2, 3).reshape(b, c * size, t // size)
    for _ in range(int(math.log2(size))):
        even, odd = x[..., 0::2], x[..., 1::2]
        x = torch.cat([even + odd, even - odd], 1) / math.sqrt(8)
    return x


def unfolded(x, method, size):
    if method == "rearrange":
        b, c, t = x.shape
        return x.reshape(b, c // size, size, t).transpose(2, 3).reshape(b, c // size, t * size)
    for _ in range(int(math.log2(size))):
        low, high = x.chunk(2, 1)
        x = (torch.stack([low + high, low - high], 3) * math.sqrt(2)).flatten(2)
    return x


def patches(case):
    x = torch.tensor(case.data["in/x"]).requires_grad_()
    out = folded(x, case.attrs["method"], case.attrs["patch_size"])
    (out * torch.tensor(case.data["in/r"])).sum().backward()
    back = unfolded(out, case.attrs["method"], case.attrs["patch_size"])
    return {"out/patched": out, "out/unpatched": back, "grad/x": x.grad}


# ---- steps ----


def losses(a, pred, x):
    """Of all columns, and of the positions of joints (upstream's "velocity")."""
    loss = {"l1_smooth": F.smooth_l1_loss, "l2": F.mse_loss, "l1": F.l1_loss}[a["recons_loss"]]
    at = slice(8, 8 + 3 * a["nb_joints"])
    return loss(pred, x), loss(pred[..., at], x[..., at])


def stepped(net, opt, x, grids):
    a = net.a
    pred, z, ids, narrow = net.forward(x)
    recons, vel = losses(a, pred, x)
    loss, size = recons + a["loss_vel"] * vel, math.prod(a["levels"])
    opt.zero_grad()
    loss.backward()
    out = dict(pred=pred, encoder_out=z, indices=ids, recons_loss=recons, vel_loss=vel, loss=loss)
    out["perplexity"], out["activate"] = perplexity(ids, size, 1e-7), ids.unique().numel() / size
    out["buffer_after/quantizer.implicit_codebook"] = grids
    grads = {n: w.grad.clone() for n, w in net.w.items() if w.requires_grad}
    opt.step()
    return out, grads, margin(narrow.detach(), a["levels"], "lucidrains")


def constant(name):
    return name.endswith(("._arange", ".wavelets", ".num_batches_tracked"))


def compute(case):
    if "in/r" in case.data:
        return patches(case)
    a, results, least = case.attrs, {}, math.inf
    weights = {n[6:]: torch.tensor(v) for n, v in case.data.items() if n.startswith("param/") and not constant(n)}
    net, size = Net(a, weights), math.prod(a["levels"])
    trained = {n: w.requires_grad_() for n, w in weights.items() if not n.endswith(STATE)}
    opt = torch.optim.AdamW(list(trained.values()), a["lr"], (a["beta1"], a["beta2"]), a["adam_eps"], a["weight_decay"])
    grids = codes_of(levels_of(torch.arange(size), a["levels"]), a["levels"])
    for step, x in enumerate(torch.tensor(case.data["in/x"])):
        at = f"step{step}/"
        out, grads, found = stepped(net, opt, x, grids)
        least = min(least, found)
        results.update({at + n: v for n, v in out.items()})
        results.update({f"{at}buffer_after/{n}": w.clone() for n, w in weights.items() if n.endswith(STATE)})
        if step == 0:
            results.update({at + "grad/" + n: v for n, v in grads.items()})
        else:
            results[at + "grad_norm"] = torch.stack([g.norm() for g in grads.values()]).norm()
        if step != 1:
            results.update({at + "param_after/" + n: w.detach().clone() for n, w in trained.items()})
    net.training = False
    with torch.no_grad():
        _, _, ids, narrow = net.forward(torch.tensor(case.data["in/x"][0]))
        least = min(least, margin(narrow, a["levels"], "lucidrains"))
        results.update({"eval/indices": ids, "eval/forward_decoder": net.from_ids(ids[:1])})
    return {**results, "attrs": {"rounding_margin_all": least}}


def compare(case, path, got):
    """Adam normalises: where a gradient is rounding noise, a parameter moves by up to the rate in any direction."""
    want = case.data[path]
    if "/param_after/" in path:
        step, name = int(path[4]) + 1, path.split("/param_after/")[1]
        g = torch.as_tensor(case.data["step0/grad/" + name]).abs()
        allowed = torch.full(want.shape, 2e-5)
        allowed[(g <= 1e-5 * g.max()) | (g.max() < 1e-7)] = 2 * case.attrs["lr"] * step
        return float(((torch.as_tensor(stored(got)) - torch.as_tensor(want)).abs() / allowed).max())
    if "/grad/" in path and abs(want).max() < 1e-7:
        return 0.0
    if path.startswith(("out/", "grad/")):
        return difference(got, want, 1e-5, 1.0)
    return difference(got, want, 5e-4 if matches(LATER, path) else 5e-5, 0.0)


# ---- the project's own cases ----


def motion(steps, batch, frames, columns):
    """Sums of slow sinusoids, about as large as normalised motion."""
    t = torch.arange(frames) / frames
    speed, phase, size = torch.rand(3, steps, batch, 1, columns, 3).unbind(0)
    waves = size * torch.sin(2 * math.pi * (3 * speed * t.view(1, 1, -1, 1, 1) + phase))
    return waves.sum(-1) * 1.2


def drawn(name, seed, frames, **options):
    torch.manual_seed(seed)
    attrs = dict(
        activation="relu",
        norm=None,
        causal=0,
        width=8,
        depth=1,
        dilation_growth_rate=3,
        down_t=1,
        stride_t=2,
        code_dim=6,
        output_emb_width=6,
        quantizer="FSQ",
        levels=[5, 4, 3],
        nb_code=60,
        input_dim=18,
        nb_joints=3,
        recons_loss="l1_smooth",
        loss_vel=0.5,
        commit=0.02,
        lr=2e-4,
        beta1=0.9,
        beta2=0.99,
        adam_eps=1e-8,
        weight_decay=0.0,
        seed=seed,
        loss="recons + loss_vel * recons of columns 8 to 8 + 3 nb_joints",
    )
    attrs.update(options)
    x, weights = motion(3, 2, frames, attrs["input_dim"]), {}
    with torch.no_grad():
        Net(attrs, weights, drawing=True).forward(x[0])
        weights["quantizer.project_in.weight"] *= 6  # so that many codes are in use
    if attrs["norm"] == "BN":  # the drawing pass has moved them
        for n in weights:
            if n.endswith(STATE):
                weights[n] = torch.zeros_like(weights[n]) if n.endswith("mean") else torch.ones_like(weights[n])
    return Case(name, attrs, {"in/x": x, **{"param/" + n: w for n, w in weights.items()}})


MODELS = (
    ("attention_causal_ln_silu", 16, dict(causal=1, use_attn=1, norm="LN", activation="silu")),
    ("attention_gelu_stride3", 12, dict(use_attn=1, activation="gelu", stride_t=3)),
    ("batch_norm_gelu_kernel5", 16, dict(norm="BN", activation="gelu", kernel_size=5, down_t=2)),
    ("causal_kernel5_depth3", 16, dict(causal=1, kernel_size=5, depth=3, dilation_growth_rate=2, recons_loss="l2")),
    ("causal_stride4", 16, dict(causal=1, stride_t=4, depth=2, recons_loss="l1", weight_decay=0.1)),
    ("haar_2_gn", 16, dict(use_patcher=1, patch_size=2, norm="GN", width=32)),
    ("rearrange_4", 16, dict(use_patcher=1, patch_size=4, patch_method="rearrange")),
)


def cases():
    for name, frames, options in MODELS:
        for seed in range(2000):
            case = drawn(name, seed, frames, **options)
            if compute(case)["attrs"]["rounding_margin_all"] > MARGIN:
                yield case
                break
        else:
            raise RuntimeError(f"{name}: no seed leaves a margin of {MARGIN}")
    for method, size in (("haar", 4), ("rearrange", 3)):
        torch.manual_seed(size)
        x, r = torch.randn(2, 3, 12), torch.randn(2, 3 * size, 12 // size)
        yield Case(f"patcher_{method}_{size}", dict(method=method, patch_size=size), {"in/x": x, "in/r": r})
