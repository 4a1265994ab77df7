"""The motion tokenizer of T2M-GPT in PyTorch, for comparisons. Written from formulas; parameters have Tessera's paths.

Inputs [B, T, columns], normalised. The model maps x to (reconstruction, ids [B, T / stride^down], quantizer loss, perplexity),
as those of torch_models.py do.
"""

import torch
import torch.nn.functional as F
from torch import nn

from torch_models import FiniteScalar, counts, in_f32, nearest, perplexity

POSITIONS = {263: slice(4, 67), 251: slice(4, 64), 272: slice(8, 74)}  # columns of joint positions


class ProjectedFiniteScalar(nn.Module):
    """Rows [N, width] -> as many numbers as there are levels, rounded, and back."""

    def __init__(self, levels, width):
        super().__init__()
        self.project_in, self.project_out = nn.Linear(width, len(levels)), nn.Linear(len(levels), width)
        self.round = FiniteScalar(levels)
        self.size = self.round.size

    def forward(self, z):
        codes, ids, loss, spread = self.round(self.project_in(z))
        return self.project_out(codes), ids, loss, spread


class ResetCodebook(nn.Module):
    """T2M-GPT's: moving averages without smoothing; a code whose count falls below 1 takes a row of the batch, in order.
    The first batch's rows are the first codes (repeated with a little noise where there are too few)."""

    def __init__(self, codes, width, commitment=0.02, decay=0.99):
        super().__init__()
        self.size, self.commitment, self.decay, self.started = codes, commitment, decay, False
        for name, shape in dict(codebook=(codes, width), sum=(codes, width), count=(codes,)).items():
            self.register_buffer(name, torch.zeros(shape))

    def tiled(self, x):
        """As many rows as there are codes."""
        if len(x) >= self.size:
            return x[: self.size]
        rows = x.repeat((self.size + len(x) - 1) // len(x), 1)[: self.size]
        return rows + torch.randn_like(rows) * 0.01 / x.shape[1] ** 0.5

    @torch.no_grad()
    def start(self, x):
        self.codebook.copy_(self.tiled(x))
        self.sum.copy_(self.codebook)
        self.count.fill_(1)

    @torch.no_grad()
    def update(self, x, ids):
        one = counts(ids, self.size)
        self.sum.mul_(self.decay).add_(torch.zeros_like(self.sum).index_add_(0, ids, x), alpha=1 - self.decay)
        self.count.mul_(self.decay).add_(one, alpha=1 - self.decay)
        alive = (self.count >= 1).unsqueeze(1)
        self.codebook.copy_(torch.where(alive, self.sum / self.count.unsqueeze(1), self.tiled(x)))

    def forward(self, x):
        if self.training and not self.started:
            if not self.codebook.any():  # no codes yet
                self.start(x.detach())
            self.started = True  # from now on nothing is asked of the device
        with torch.no_grad():
            ids = nearest(x, self.codebook)
            q = F.embedding(ids, self.codebook)
        if self.training:
            self.update(x.detach(), ids)
        return x + (q - x).detach(), ids, self.commitment * F.mse_loss(x, q), perplexity(ids, self.size)


class FlatConv(nn.Conv1d):
    """The same as a convolution over images of height 1, which can be channels-last."""

    def forward(self, x):
        sizes = ((1, self.stride[0]), (0, self.padding[0]), (1, self.dilation[0]))
        return F.conv2d(x.unsqueeze(2), self.weight.unsqueeze(2), self.bias, *sizes).squeeze(2)


def upsample(x, factor):
    """Nearest, over the last axis; in the layout of x."""
    if x.shape[1] > 1 and x.stride(1) == 1:
        return F.interpolate(x.unsqueeze(2), scale_factor=(1.0, factor)).squeeze(2)
    return F.interpolate(x, scale_factor=factor)


def lay_channels_last(model):
    """Changes the model, of motion or of images, so that its convolutions run channels-last."""
    for module in model.modules():
        if isinstance(module, nn.Conv1d):
            module.__class__ = FlatConv
            weight = module.weight.data.unsqueeze(2).contiguous(memory_format=torch.channels_last)
            module.weight = nn.Parameter(weight.squeeze(2))
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.to(memory_format=torch.channels_last)


class OverChannels(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Block(nn.Module):
    def __init__(self, width, dilation, norm=False):
        super().__init__()
        self.norm1, self.norm2 = (OverChannels(width) if norm else nn.Identity() for _ in range(2))
        self.conv1 = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv1d(width, width, 1)

    def forward(self, x):
        return x + self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))


class Level(nn.Module):
    """A strided convolution and the residual stack behind it, or the stack and a convolution behind its upsampling."""

    def __init__(self, width, depth, growth, down, stride=2, norm=False):
        super().__init__()
        self.down, self.stride = down, stride
        self.conv = nn.Conv1d(width, width, 2 * stride, stride, stride // 2) if down else nn.Conv1d(width, width, 3, padding=1)
        self.block = nn.ModuleList(Block(width, growth ** (depth - 1 - i), norm) for i in range(depth))

    def forward(self, x):
        x = self.conv(x) if self.down else x
        for block in self.block:
            x = block(x)
        return x if self.down else self.conv(upsample(x, float(self.stride)))


class Encoder(nn.Module):
    def __init__(self, columns, width, depth, growth, levels, out, norm):
        super().__init__()
        self.first, self.last = nn.Conv1d(columns, width, 3, padding=1), nn.Conv1d(width, out, 3, padding=1)
        self.down = nn.ModuleList(Level(width, depth, growth, True, norm=norm) for _ in range(levels))

    def forward(self, x):
        x = F.relu(self.first(x))
        for level in self.down:
            x = level(x)
        return self.last(x)


class Decoder(nn.Module):
    def __init__(self, columns, width, depth, growth, levels, out, norm):
        super().__init__()
        self.first, self.last = nn.Conv1d(out, width, 3, padding=1), nn.Conv1d(width, columns, 3, padding=1)
        self.body = nn.Conv1d(width, width, 3, padding=1)
        self.up = nn.ModuleList(Level(width, depth, growth, False, norm=norm) for _ in range(levels))

    def forward(self, x):
        x = F.relu(self.first(x))
        for level in self.up:
            x = level(x)
        return self.last(F.relu(self.body(x)))


class Motion(nn.Module):
    def __init__(self, quantizer, columns=263, width=512, depth=3, growth=3, levels=2, code_width=None, norm=False):
        super().__init__()
        shape = (columns, width, depth, growth, levels, code_width or width, norm)
        self.encoder, self.quantizer, self.decoder = Encoder(*shape), quantizer, Decoder(*shape)
        self.columns, self.frames_per_token = columns, 2**levels

    def forward(self, x):
        z = self.encoder(x.transpose(1, 2)).transpose(1, 2)
        codes, ids, loss, spread = in_f32(self.quantizer, z.reshape(-1, z.shape[2]))
        y = self.decoder(codes.view(z.shape).transpose(1, 2)).transpose(1, 2)
        return y, ids.view(z.shape[:2]), loss, spread

    def loss(self, y, x, quantizer_loss, position=0.5):
        """Smooth L1 of all columns, `position` times that of the positions, and the quantizer's."""
        at = POSITIONS[self.columns]
        return F.smooth_l1_loss(y, x) + position * F.smooth_l1_loss(y[..., at], x[..., at]) + quantizer_loss
