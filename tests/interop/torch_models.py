"""The project's image tokenizers in PyTorch, for comparisons. Written from formulas; parameters are named as in files.

Small:   conv stack with two max pools, FSQ or VQ between, mirrored by nearest upsampling; inputs [B, 1, H, W].
Classic: the VQ-VAE with strided convolutions and residual units, codebook by gradient or EMA; inputs [B, 3, H, W].
Every model maps x to (reconstruction, ids, quantizer loss, perplexity).
"""

import torch
import torch.nn.functional as F
from torch import nn


def nearest(x, code):
    """Rows of x [N, D] -> index of the closest row of code [K, D], lowest on ties."""
    return torch.addmm(code.square().sum(1), x, code.t(), alpha=-2).argmin(1)


def counts(ids, size):
    """How often each id of 0 ... size-1 is there, f32 [size]. On a GPU bincount would wait for the host."""
    ids = ids.flatten()
    if ids.is_cuda:
        return torch.zeros(size, device=ids.device).scatter_add_(0, ids, torch.ones(len(ids), device=ids.device))
    return torch.bincount(ids, minlength=size).float()


def perplexity(ids, size, eps=1e-10):
    p = counts(ids, size) / ids.numel()
    return torch.exp(-(p * torch.log(p + eps)).sum())


class FiniteScalar(nn.Module):
    """Tokens [N, len(levels)] -> codes in [-1, 1], straight-through."""

    def __init__(self, levels):
        super().__init__()
        n = torch.tensor(levels)
        reach, offset = (n - 1) * 1.001 / 2, torch.where(n % 2 == 0, 0.5, 0.0)
        radix = torch.cumprod(torch.cat([torch.ones(1, dtype=torch.long), n[:-1]]), 0)
        for name, value in dict(
            reach=reach, offset=offset, shift=torch.atanh(offset / reach), steps=n // 2, radix=radix
        ).items():
            self.register_buffer(name, value, persistent=False)
        self.size = int(n.prod())

    def forward(self, z):
        b = torch.tanh(z + self.shift) * self.reach - self.offset
        r = b + (b.round() - b).detach()
        ids = ((r.detach().round().long() + self.steps) * self.radix).sum(-1)
        return r / self.steps, ids, z.new_zeros(()), perplexity(ids, self.size)


class Codebook(nn.Module):
    """Codebook by gradient: mse(q, sg x) + beta * mse(sg q, x)."""

    def __init__(self, codes, width, beta=0.25):
        super().__init__()
        self.codebook, self.beta = nn.Parameter(torch.empty(codes, width).uniform_(-1 / codes, 1 / codes)), beta

    def code(self):
        return self.codebook

    def forward(self, x):
        with torch.no_grad():
            ids = nearest(x, self.code())
        q = F.embedding(ids, self.code())
        loss = F.mse_loss(q, x.detach()) + self.beta * F.mse_loss(q.detach(), x)
        return x + (q - x).detach(), ids, loss, perplexity(ids, len(self.code()))


class NamedCodebook(Codebook):
    """The same, its codebook under the classic model's name."""

    def __init__(self, codes, width, beta=0.25):
        super().__init__(codes, width, beta)
        del self.codebook
        self._embedding = nn.Embedding(codes, width)
        nn.init.uniform_(self._embedding.weight, -1 / codes, 1 / codes)

    def code(self):
        return self._embedding.weight


class MovingCodebook(nn.Module):
    """Codebook as an exponential moving average; the smoothed counts are stored back, as the classic model does."""

    def __init__(self, codes, width, beta=0.25, decay=0.99, eps=1e-5):
        super().__init__()
        self.beta, self.decay, self.eps = beta, decay, eps
        self._embedding = nn.Embedding(codes, width)
        self._embedding.weight.requires_grad_(False)
        self.register_buffer("_ema_w", self._embedding.weight.clone())
        self.register_buffer("_ema_cluster_size", torch.ones(codes))

    def update(self, x, ids):
        code = self._embedding.weight
        self.move(counts(ids, len(code)), torch.zeros_like(code).index_add_(0, ids, x))

    @torch.no_grad()
    def move(self, count, rows):
        """To the averages after a batch: how many rows each code got, and their sums."""
        code, n, w = self._embedding.weight, self._ema_cluster_size, self._ema_w
        n.mul_(self.decay).add_(count, alpha=1 - self.decay)
        total = n.sum()
        n.copy_((n + self.eps) / (total + len(code) * self.eps) * total)
        w.mul_(self.decay).add_(rows, alpha=1 - self.decay)
        code.copy_(w / n.unsqueeze(1))

    def forward(self, x):
        with torch.no_grad():
            ids = nearest(x, self._embedding.weight)
            q = F.embedding(ids, self._embedding.weight)
        if self.training:
            with torch.no_grad():
                self.update(x.detach(), ids)
        return x + (q - x).detach(), ids, self.beta * F.mse_loss(q, x), perplexity(ids, len(self._ema_cluster_size))


def in_f32(quantizer, rows):
    """What the quantizer makes of rows, computed in f32 also where the rest of the model is not."""
    with torch.autocast(rows.device.type, enabled=False):
        return quantizer(rows.float())


def on_tokens(quantizer, z):
    """z [B, C, H, W] -> codes of the same shape, ids [B, H, W], loss, perplexity; a token is one pixel's vector."""
    rows = z.permute(0, 2, 3, 1)
    codes, ids, loss, spread = in_f32(quantizer, rows.reshape(-1, z.shape[1]))
    return codes.view(rows.shape).permute(0, 3, 1, 2), ids.view(rows.shape[:3]), loss, spread


def conv3(c_in, c_out):
    return nn.Conv2d(c_in, c_out, 3, padding=1)


class SmallEncoder(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = conv3(1, 16), conv3(16, 32), nn.Conv2d(32, width, 1)

    def forward(self, x):
        x = F.gelu(F.max_pool2d(self.conv1(x), 2))
        return self.conv3(F.max_pool2d(self.conv2(x), 2))


class SmallDecoder(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = conv3(width, 32), conv3(32, 16), conv3(16, 1)

    def forward(self, x):
        x = F.gelu(self.conv2(F.interpolate(self.conv1(x), scale_factor=2.0)))
        return self.conv3(F.interpolate(x, scale_factor=2.0))


class Small(nn.Module):
    def __init__(self, quantizer, width):
        super().__init__()
        self.encoder, self.quantizer, self.decoder = SmallEncoder(width), quantizer, SmallDecoder(width)

    def forward(self, x):
        q, ids, loss, spread = on_tokens(self.quantizer, self.encoder(x))
        return self.decoder(q), ids, loss, spread


class Unit(nn.Module):
    """y = relu(x) + f(relu(x)): the skip starts behind the first ReLU, because the original applies it in place."""

    def __init__(self, hidden, inner):
        super().__init__()
        self._block = nn.ModuleDict(
            {"1": nn.Conv2d(hidden, inner, 3, padding=1, bias=False), "3": nn.Conv2d(inner, hidden, 1, bias=False)}
        )

    def forward(self, x):
        x = F.relu(x)
        return x + self._block["3"](F.relu(self._block["1"](x)))


class Stack(nn.Module):
    def __init__(self, hidden, inner, units):
        super().__init__()
        self._layers = nn.ModuleList(Unit(hidden, inner) for _ in range(units))

    def forward(self, x):
        for unit in self._layers:
            x = unit(x)
        return F.relu(x)


class ClassicEncoder(nn.Module):
    def __init__(self, hidden, inner, units):
        super().__init__()
        self._conv_1, self._conv_2 = nn.Conv2d(3, hidden // 2, 4, 2, 1), nn.Conv2d(hidden // 2, hidden, 4, 2, 1)
        self._conv_3, self._residual_stack = conv3(hidden, hidden), Stack(hidden, inner, units)

    def forward(self, x):
        return self._residual_stack(self._conv_3(F.relu(self._conv_2(F.relu(self._conv_1(x))))))


class ClassicDecoder(nn.Module):
    def __init__(self, width, hidden, inner, units):
        super().__init__()
        self._conv_1, self._residual_stack = conv3(width, hidden), Stack(hidden, inner, units)
        self._conv_trans_1 = nn.ConvTranspose2d(hidden, hidden // 2, 4, 2, 1)
        self._conv_trans_2 = nn.ConvTranspose2d(hidden // 2, 3, 4, 2, 1)

    def forward(self, x):
        return self._conv_trans_2(F.relu(self._conv_trans_1(self._residual_stack(self._conv_1(x)))))


class Classic(nn.Module):
    def __init__(self, quantizer, width, hidden=128, inner=32, units=2):
        super().__init__()
        self._encoder, self._pre_vq_conv = ClassicEncoder(hidden, inner, units), nn.Conv2d(hidden, width, 1)
        self._vq_vae, self._decoder = quantizer, ClassicDecoder(width, hidden, inner, units)

    def encode(self, x):
        return self._pre_vq_conv(self._encoder(x))

    def forward(self, x):
        q, ids, loss, spread = on_tokens(self._vq_vae, self.encode(x))
        return self._decoder(q), ids, loss, spread
