"""Golden vectors of single operations: each is one call of torch.nn.functional, differentiated.

The part of a case's name up to its first variant says which operation it is (the longest key of OPS that is a prefix);
attributes hold its options. In torch's layouts. The scalar that is differentiated is sum(out * r).
"""

import torch
import torch.nn.functional as F

from vectors import Case

INPUTS = [r"in/.*"]
ABOUT = {"module": "torch.nn.functional"}
NO_GRADIENT = {"running_mean", "running_var"}


def tolerance(case, path):
    tight = case.name.startswith(("softplus", "gelu", "tanh"))
    return (2e-6 if tight else 5e-6), 0.0


def rms_norm(x, w, eps):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * w


def attention(q, k, v, a):
    scores = q @ k.transpose(-1, -2) * a["scale"]
    if a["causal"]:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(future, float("-inf"))
    return scores.softmax(-1) @ v


def conv(call):
    return lambda t, a: call(
        t["x"], t["w"], t.get("b"), a["stride"], a["padding"], dilation=a["dilation"], groups=a["groups"]
    )


def conv_transpose(call):
    return lambda t, a: call(
        t["x"], t["w"], t.get("b"), a["stride"], a["padding"], a["output_padding"], a["groups"], a["dilation"]
    )


def unary(f):
    return lambda t, a: f(t["x"])


def binary(f):
    return lambda t, a: f(t["x"], t["y"])


def reduction(f):
    return lambda t, a: f(t["x"], tuple(a["axes"]), bool(a["keepdim"]))


def gelu_tanh(x):
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


def part(t, a):
    return t["x"].narrow(a["axis"], a["start"], a["stop"] - a["start"])


def batch_norm_eval(t, a):
    return F.batch_norm(t["x"], t["running_mean"], t["running_var"], t["w"], t["b"], False, 0.0, a["eps"])


OPS = {
    "add": binary(torch.add),
    "sub": binary(torch.sub),
    "mul": binary(torch.mul),
    "div": binary(torch.div),
    "maximum": binary(torch.maximum),
    "minimum": binary(torch.minimum),
    "relu": unary(F.relu),
    "leaky_relu": lambda t, a: F.leaky_relu(t["x"], a.get("slope", 0.2)),
    "elu": unary(F.elu),
    "gelu_erf": unary(F.gelu),
    "gelu_tanh": unary(gelu_tanh),
    "silu": unary(F.silu),
    "sigmoid": unary(torch.sigmoid),
    "tanh": unary(torch.tanh),
    "softplus": unary(F.softplus),
    "exp": unary(torch.exp),
    "log": unary(torch.log),
    "sqrt": unary(torch.sqrt),
    "rsqrt": unary(torch.rsqrt),
    "square": unary(torch.square),
    "abs": unary(torch.abs),
    "neg": unary(torch.neg),
    "smooth_abs": unary(lambda x: F.smooth_l1_loss(x, torch.zeros_like(x), reduction="none")),
    "clamp": lambda t, a: t["x"].clamp(a["lo"], a["hi"]),
    "where": lambda t, a: torch.where(t["cond"] != 0, t["x"], t["y"]),
    "sum": reduction(torch.sum),
    "mean": reduction(torch.mean),
    "max": reduction(torch.amax),
    "min": reduction(torch.amin),
    "cumsum": lambda t, a: t["x"].cumsum(1),
    "concat": lambda t, a: torch.cat([t["x"], t["y"]], a["axis"]),
    "slice": part,
    "permute": lambda t, a: t["x"].permute(a["order"]).contiguous(),
    "reshape": lambda t, a: t["x"].reshape(a["shape"]),
    "pad_left": lambda t, a: F.pad(t["x"], (a["left"], 0)),
    "matmul": binary(torch.matmul),
    "linear": lambda t, a: F.linear(t["x"], t["w"], t.get("b")),
    "conv1d": conv(F.conv1d),
    "conv2d": conv(F.conv2d),
    "conv_transpose1d": conv_transpose(F.conv_transpose1d),
    "conv_transpose2d": conv_transpose(F.conv_transpose2d),
    "avg_pool1d": lambda t, a: F.avg_pool1d(t["x"], a["k"]),
    "avg_pool2d": lambda t, a: F.avg_pool2d(t["x"], a["k"]),
    "max_pool1d": lambda t, a: F.max_pool1d(t["x"], a["k"]),
    "max_pool2d": lambda t, a: F.max_pool2d(t["x"], a["k"]),
    "upsample_nearest1d": lambda t, a: F.interpolate(t["x"], scale_factor=float(a["scale"])),
    "upsample_nearest2d": lambda t, a: F.interpolate(t["x"], scale_factor=float(a["scale"])),
    "softmax": lambda t, a: t["x"].softmax(a.get("axis", -1)),
    "softmax_dim1": lambda t, a: t["x"].softmax(1),
    "log_softmax": lambda t, a: t["x"].log_softmax(a.get("axis", -1)),
    "normalize": lambda t, a: F.normalize(t["x"], dim=-1, eps=a["eps"]),
    "layer_norm": lambda t, a: F.layer_norm(t["x"], t["w"].shape, t["w"], t["b"], a["eps"]),
    "group_norm": lambda t, a: F.group_norm(t["x"], a["groups"], t["w"], t["b"], a["eps"]),
    "rms_norm": lambda t, a: rms_norm(t["x"], t["w"], a["eps"]),
    "batch_norm_eval": batch_norm_eval,
    "attention": lambda t, a: attention(t["q"], t["k"], t["v"], a),
    "embedding": lambda t, a: F.embedding(t["idx"], t["w"]),
    "l1": binary(F.l1_loss),
    "mse": binary(F.mse_loss),
    "smooth_l1": lambda t, a: F.smooth_l1_loss(t["x"], t["y"], beta=a["beta"]),
    "cross_entropy": lambda t, a: F.cross_entropy(
        t["x"], t["target"], ignore_index=a.get("ignore_index", -100), label_smoothing=a.get("label_smoothing", 0.0)
    ),
}


def batch_norm_train(tensors, a):
    """Also returns the running statistics after one step from mean 0, variance 1."""
    mean, var = torch.zeros_like(tensors["w"]), torch.ones_like(tensors["w"])
    y = F.batch_norm(tensors["x"], mean, var, tensors["w"], tensors["b"], True, a["momentum"], a["eps"])
    return y, {"out/running_mean": mean, "out/running_var": var}


def optimizer(case):
    a, p = case.attrs, torch.nn.Parameter(torch.tensor(case.data["in/p"]))
    common = dict(lr=a["lr"], weight_decay=a["weight_decay"])
    if case.name.startswith("optim_sgd"):
        opt = torch.optim.SGD(
            [p], momentum=a["momentum"], dampening=a["dampening"], nesterov="nesterov" in case.name, **common
        )
    else:
        kind = torch.optim.AdamW if case.name.startswith("optim_adamw") else torch.optim.Adam
        opt = kind([p], betas=tuple(a["betas"]), eps=a["eps"], **common)
    after = []
    for g in case.data["in/grads"]:
        p.grad = torch.tensor(g)
        opt.step()
        after.append(p.detach().clone())
    return {"out/p": torch.stack(after)}


def clipped(case):
    params = []
    for name in sorted(n for n in case.data if n.startswith("in/")):
        params.append(torch.nn.Parameter(torch.zeros(case.data[name].shape)))
        params[-1].grad = torch.tensor(case.data[name])
    norm = torch.nn.utils.clip_grad_norm_(params, case.attrs["max_norm"])
    return {"out/total_norm": norm, **{f"out/g{i}": p.grad for i, p in enumerate(params)}}


def multistep(case):
    opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=case.attrs["lr"])
    plan = torch.optim.lr_scheduler.MultiStepLR(opt, case.attrs["milestones"], case.attrs["gamma"])
    rates = []
    for _ in range(12):
        rates.append(opt.param_groups[0]["lr"])
        opt.step()
        plan.step()
    return {"out/lr": torch.tensor(rates)}


def op_of(name):
    return max((k for k in OPS if name == k or name.startswith(k + "_")), key=len)


def compute(case):
    for prefix, special in (("optim_", optimizer), ("clip_grad_norm", clipped), ("multistep_lr", multistep)):
        if case.name.startswith(prefix):
            return special(case)
    tensors = {n[3:]: torch.tensor(v) for n, v in case.data.items() if n.startswith("in/")}
    tensors = {n: t.long() if t.dtype == torch.int32 else t for n, t in tensors.items()}
    leaves = {
        n: t.requires_grad_()
        for n, t in tensors.items()
        if t.is_floating_point() and n != "r0" and n not in NO_GRADIENT
    }
    more = {}
    if case.name.startswith("batch_norm_train"):
        y, more = batch_norm_train(tensors, case.attrs)
    else:
        y = OPS[op_of(case.name)](tensors, case.attrs)
    if "r0" not in tensors:  # a new case: the weighting has the shape of the output
        tensors["r0"] = torch.randn(y.shape)
        more["in/r0"] = tensors["r0"]
    (y * tensors["r0"].reshape(y.shape)).sum().backward()
    return {"out/0": y, **{f"grad/{n}": t.grad for n, t in leaves.items()}, **more}


# ---- the cases of our own file ----


def make(name, attrs=None, **tensors):
    attrs = dict(attrs or {})
    if not name.startswith(("optim_", "clip_", "multistep_")):
        attrs["loss"] = "sum(out*r)"
    return Case(name, attrs, {f"in/{n}": t for n, t in tensors.items()})


def wide(*shape):
    return torch.randn(shape) * 3


def away_from_zero(*shape):
    """For what has a kink or a pole at zero."""
    x = torch.randn(shape)
    return x + 0.05 * torch.where(x < 0, -torch.ones(()), torch.ones(()))


def positive(*shape):
    return torch.rand(shape) * 4 + 0.05


def distinct(*shape):
    """No two entries closer than 1/32, so that a maximum has one place."""
    n = torch.Size(shape).numel()
    return (torch.randperm(n).reshape(shape) - n / 2) / 32 + torch.rand(shape) / 128


def pointwise_cases():
    for name in "relu leaky_relu elu gelu_erf gelu_tanh silu sigmoid tanh softplus smooth_abs".split():
        yield make(name, x=wide(3, 50))
        yield make(name + "_n1", x=wide(1))
        yield make(name + "_n67", x=wide(67))
    yield make("leaky_relu_slope01", {"slope": 0.01}, x=wide(3, 50))
    for name, draw in dict(
        exp=torch.randn,
        log=positive,
        sqrt=positive,
        rsqrt=positive,
        square=torch.randn,
        abs=away_from_zero,
        neg=torch.randn,
    ).items():
        yield make(name, x=draw(3, 50))
        yield make(name + "_n67", x=draw(67))
    yield make("clamp", {"lo": -1.0, "hi": 1.5}, x=wide(3, 50))
    yield make("where", cond=torch.randint(0, 2, (4, 9)).int(), x=torch.randn(4, 9), y=torch.randn(4, 9))


def broadcast_cases():
    shapes = {
        "same": ((3, 7), (3, 7)),
        "row": ((2, 3, 5), (5,)),
        "column": ((3, 5), (3, 1)),
        "scalar": ((3, 5), (1,)),
        "middle": ((2, 3, 4, 5), (2, 1, 1, 5)),
        "both": ((4, 1, 5), (3, 1)),
    }
    for name in "add sub mul div maximum minimum".split():
        for label, (a, b) in shapes.items():
            yield make(f"{name}_{label}", x=torch.randn(a), y=away_from_zero(*b))


def shape_cases():
    yield make("concat_axis0", {"axis": 0}, x=torch.randn(2, 5), y=torch.randn(3, 5))
    yield make("concat_axis1", {"axis": 1}, x=torch.randn(2, 3, 4), y=torch.randn(2, 5, 4))
    yield make("concat_axis2", {"axis": 2}, x=torch.randn(2, 3, 1), y=torch.randn(2, 3, 4))
    yield make("slice_axis0", {"axis": 0, "start": 1, "stop": 3}, x=torch.randn(4, 5))
    yield make("slice_axis1", {"axis": 1, "start": 2, "stop": 6}, x=torch.randn(2, 7, 3))
    yield make("slice_axis2", {"axis": 2, "start": 4, "stop": 67}, x=torch.randn(2, 3, 71))
    yield make("permute_021", {"order": [0, 2, 1]}, x=torch.randn(2, 3, 5))
    yield make("permute_0231", {"order": [0, 2, 3, 1]}, x=torch.randn(2, 3, 4, 5))
    yield make("permute_3102", {"order": [3, 1, 0, 2]}, x=torch.randn(2, 3, 4, 5))
    yield make("permute_10", {"order": [1, 0]}, x=torch.randn(17, 19))
    yield make("reshape_6_20", {"shape": [6, 20]}, x=torch.randn(2, 3, 4, 5))
    yield make("pad_left", {"left": 3}, x=torch.randn(2, 3, 5))
    yield make("pad_left_1", {"left": 1}, x=torch.randn(1, 4, 9))


def reduce_cases():
    for name, draw in dict(sum=torch.randn, mean=torch.randn, max=distinct, min=distinct).items():
        yield make(f"{name}_last", {"axes": [2], "keepdim": 0}, x=draw(3, 4, 7))
        yield make(f"{name}_first", {"axes": [0], "keepdim": 1}, x=draw(5, 6))
        yield make(f"{name}_middle", {"axes": [1], "keepdim": 0}, x=draw(2, 9, 3))
        yield make(f"{name}_02", {"axes": [0, 2], "keepdim": 1}, x=draw(3, 4, 5))
        yield make(f"{name}_all", {"axes": [0, 1, 2], "keepdim": 0}, x=draw(3, 4, 5))
    yield make("cumsum", x=torch.randn(2, 6, 3))
    yield make("cumsum_long", x=torch.randn(1, 33, 2))


def matmul_cases():
    yield make("matmul", x=torch.randn(6, 7), y=torch.randn(7, 5))
    yield make("matmul_batched", x=torch.randn(3, 5, 6), y=torch.randn(3, 6, 4))
    yield make("matmul_batched4", x=torch.randn(2, 3, 5, 4), y=torch.randn(2, 3, 4, 7))
    yield make("matmul_shared", x=torch.randn(3, 5, 6), y=torch.randn(6, 4))
    yield make("matmul_33", x=torch.randn(33, 17), y=torch.randn(17, 35))
    yield make("linear", x=torch.randn(2, 5, 7), w=torch.randn(6, 7), b=torch.randn(6))
    yield make("linear_nobias", x=torch.randn(9, 4), w=torch.randn(3, 4))
    yield make("linear_one", x=torch.randn(1, 1), w=torch.randn(1, 1), b=torch.randn(1))


#        axes, c_in, c_out, kernel, stride, padding, dilation, groups, size
CONVS = [
    (1, 4, 5, 1, 1, 0, 1, 1, (9,)),
    (1, 6, 8, 3, 1, 1, 1, 1, (17,)),
    (1, 8, 8, 3, 1, 3, 3, 1, (20,)),
    (1, 8, 12, 3, 1, 9, 9, 2, (24,)),
    (1, 6, 8, 4, 2, 1, 1, 1, (16,)),
    (1, 6, 6, 5, 3, 2, 1, 6, (19,)),
    (1, 3, 4, 7, 1, 3, 1, 1, (8,)),
    (1, 16, 17, 3, 2, 0, 1, 1, (15,)),
    (2, 3, 5, 1, 1, 0, 1, 1, (6, 7)),
    (2, 4, 6, 3, 1, 1, 1, 1, (8, 9)),
    (2, 6, 6, 3, 1, 2, 2, 3, (9, 10)),
    (2, 4, 6, 4, 2, 1, 1, 1, (10, 11)),
    (2, 1, 16, 3, 1, 1, 1, 1, (7, 7)),
    (2, 5, 3, 3, 2, 1, 1, 1, (7, 8)),
]


def conv_cases():
    for axes, c_in, c_out, k, s, p, d, g, size in CONVS:
        label, kernel = f"k{k}_s{s}_p{p}_d{d}_g{g}" + ("_c1" if c_in == 1 else ""), (k,) * axes
        attrs = dict(stride=s, padding=p, dilation=d, groups=g)
        yield make(
            f"conv{axes}d_{label}",
            attrs,
            x=torch.randn(2, c_in, *size),
            w=torch.randn(c_out, c_in // g, *kernel),
            b=torch.randn(c_out),
        )
        small = tuple(max(4, n // 2) for n in size)
        outs = c_out if c_out % g == 0 else g
        yield make(
            f"conv_transpose{axes}d_{label}",
            dict(attrs, output_padding=int(axes == 1 and s > 1)),
            x=torch.randn(2, c_in, *small),
            w=torch.randn(c_in, outs // g, *kernel),
            b=torch.randn(outs),
        )
    yield make(
        "conv2d_nobias",
        dict(stride=1, padding=1, dilation=1, groups=1),
        x=torch.randn(1, 3, 5, 5),
        w=torch.randn(4, 3, 3, 3),
    )


def resample_cases():
    yield make("avg_pool1d", {"k": 2}, x=torch.randn(2, 3, 8))
    yield make("avg_pool1d_k3", {"k": 3}, x=torch.randn(2, 3, 10))
    yield make("avg_pool2d", {"k": 2}, x=torch.randn(2, 3, 6, 8))
    yield make("avg_pool2d_odd", {"k": 2}, x=torch.randn(1, 2, 7, 5))
    yield make("max_pool1d", {"k": 2}, x=distinct(2, 3, 8))
    yield make("max_pool2d", {"k": 2}, x=distinct(2, 3, 6, 8))
    yield make("max_pool2d_odd", {"k": 2}, x=distinct(1, 2, 7, 5))
    yield make("max_pool2d_k3", {"k": 3}, x=distinct(2, 2, 9, 6))
    yield make("upsample_nearest1d", {"scale": 2}, x=torch.randn(2, 3, 7))
    yield make("upsample_nearest2d", {"scale": 2}, x=torch.randn(2, 3, 4, 5))
    yield make("upsample_nearest2d_x4", {"scale": 4}, x=torch.randn(1, 2, 3, 3))


def norm_cases():
    affine = lambda c: dict(w=torch.randn(c), b=torch.randn(c))
    for c, eps in ((6, 1e-5), (8, 1e-6), (3, 1e-5)):
        yield make(
            f"batch_norm_eval_c{c}",
            {"eps": eps},
            x=torch.randn(4, c, 7),
            running_mean=torch.randn(c),
            running_var=torch.rand(c) + 0.5,
            **affine(c),
        )
        yield make(f"batch_norm_train_c{c}", {"eps": eps, "momentum": 0.1}, x=torch.randn(4, c, 7), **affine(c))
    for groups, c, eps in ((4, 8, 1e-5), (32, 32, 1e-6), (1, 6, 1e-5), (32, 64, 1e-6)):
        yield make(f"group_norm_g{groups}_c{c}", {"eps": eps, "groups": groups}, x=torch.randn(2, c, 11), **affine(c))
    for c in (5, 16, 33):
        yield make(f"layer_norm_c{c}", {"eps": 1e-5}, x=torch.randn(3, 6, c), **affine(c))
        yield make(f"rms_norm_c{c}", {"eps": 1e-5}, x=torch.randn(3, 6, c), w=torch.randn(c))
    yield make("normalize", {"eps": 1e-12}, x=torch.randn(4, 6))
    yield make("normalize_c33", {"eps": 1e-6}, x=torch.randn(2, 3, 33))


def softmax_cases():
    yield make("softmax", x=wide(4, 9))
    yield make("softmax_dim1", x=wide(2, 5, 6))
    yield make("softmax_axis0", {"axis": 0}, x=wide(5, 6))
    yield make("softmax_axis2", {"axis": 2}, x=wide(2, 3, 4, 5))
    yield make("softmax_large", x=wide(3, 40) + 100)
    yield make("log_softmax", x=wide(4, 9))
    yield make("log_softmax_axis1", {"axis": 1}, x=wide(2, 5, 6))
    for name, causal in (("attention", 0), ("attention_causal", 1)):
        yield make(name, {"causal": causal, "scale": 8**-0.5}, **{n: torch.randn(2, 3, 9, 8) for n in "qkv"})
    yield make("attention_one_head", {"causal": 0, "scale": 0.25}, **{n: torch.randn(1, 1, 5, 16) for n in "qkv"})


def loss_cases():
    for name, attrs in (("l1", {}), ("mse", {}), ("smooth_l1", {"beta": 1.0})):
        yield make(name, attrs, x=torch.randn(4, 5), y=torch.randn(4, 5))
        yield make(name + "_image", attrs, x=torch.randn(2, 3, 4, 5), y=torch.randn(2, 3, 4, 5))
    yield make("smooth_l1_beta01", {"beta": 0.1}, x=torch.randn(4, 5), y=torch.randn(4, 5))
    target = lambda: torch.randint(0, 9, (7,)).int()
    ignored = target()
    ignored[2] = ignored[5] = -1
    yield make("cross_entropy_mean", x=torch.randn(7, 9), target=target())
    yield make("cross_entropy_smooth", {"label_smoothing": 0.1}, x=torch.randn(7, 9), target=target())
    yield make("cross_entropy_ignore", {"ignore_index": -1}, x=torch.randn(7, 9), target=ignored)
    yield make("embedding", idx=torch.tensor([3, 0, 3, 8, 1, 1, 7]).int(), w=torch.randn(9, 4))
    yield make("embedding_one_row", idx=torch.tensor([0, 0, 0]).int(), w=torch.randn(1, 5))


def optim_cases():
    draws = lambda: dict(p=torch.randn(4, 5), grads=torch.randn(6, 4, 5))
    adam = lambda lr, wd, betas=(0.9, 0.999): dict(lr=lr, weight_decay=wd, betas=list(betas), eps=1e-8)
    sgd = lambda momentum, wd: dict(lr=0.1, weight_decay=wd, momentum=momentum, dampening=0.0, betas=[0.0, 0.0])
    yield make("optim_adam", adam(0.01, 0.0), **draws())
    yield make("optim_adam_l2", adam(0.005, 0.05), **draws())
    yield make("optim_adamw", adam(0.01, 0.1, (0.9, 0.99)), **draws())
    yield make("optim_adamw_default", adam(3e-4, 0.01), **draws())
    yield make("optim_sgd", sgd(0.0, 0.0), **draws())
    yield make("optim_sgd_mom", sgd(0.9, 0.01), **draws())
    yield make("optim_sgd_nesterov", sgd(0.9, 0.0), **draws())
    yield make("clip_grad_norm", {"max_norm": 1.0}, g0=torch.randn(3, 4), g1=torch.randn(7))
    yield make("clip_grad_norm_below", {"max_norm": 100.0}, g0=torch.randn(3, 4), g1=torch.randn(7))
    yield make("multistep_lr", {"lr": 1e-3, "gamma": 0.1, "milestones": [3, 8]})


def cases():
    torch.manual_seed(20242)  # no sum that nearly cancels
    for family in (
        pointwise_cases,
        broadcast_cases,
        shape_cases,
        reduce_cases,
        matmul_cases,
        conv_cases,
        resample_cases,
        norm_cases,
        softmax_cases,
        loss_cases,
        optim_cases,
    ):
        yield from family()
