"""Networks for spectral super-resolution computed step by step, as their papers say it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, softmax
from torch import nn

from xrs.nets._attention import SpectralAttention

Array = NDArray[np.float64]


def _weights(layer: nn.Module) -> Array:
    return layer.get_parameter("weight").detach().numpy()


def _linear(x: Array, layer: nn.Module) -> Array:
    bias = layer.bias
    return x @ _weights(layer).T + (0.0 if bias is None else bias.detach().numpy())


def _gelu(x: Array) -> Array:
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def _prelu(x: Array, layer: nn.Module) -> Array:
    return np.where(x > 0, x, float(_weights(layer)[0]) * x)


def convolved(x: Array, layer: nn.Module, *, mirror: bool = False, stride: int = 1, edge: int | None = None) -> Array:
    """A convolution of (band, y, x), tap by tap."""
    taps = _weights(layer)
    side = taps.shape[-1]
    edge = side // 2 if edge is None else edge
    wide = np.pad(x, ((0, 0), (edge, edge), (edge, edge)), mode="reflect" if mirror else "constant")
    rows, columns = ((n - side) // stride + 1 for n in wide.shape[1:])
    out = np.zeros((len(taps), rows, columns))
    for dy in range(side):
        for dx in range(side):
            seen = wide[:, dy : dy + stride * rows : stride, dx : dx + stride * columns : stride]
            tap = taps[:, :, dy, dx]
            depthwise = tap.shape[1] == 1 and len(x) == len(taps) > 1
            out += tap[:, 0, None, None] * seen if depthwise else np.tensordot(tap, seen, 1)
    bias = layer.bias
    return out if bias is None else out + bias.detach().numpy()[:, None, None]


def _raised(x: Array, layer: nn.Module) -> Array:
    """A transposed convolution of 2 x 2 pixels: each makes four."""
    taps = _weights(layer)
    out = np.zeros((taps.shape[1], 2 * x.shape[1], 2 * x.shape[2]))
    for dy in range(2):
        for dx in range(2):
            out[:, dy::2, dx::2] = np.einsum("io,iyx->oyx", taps[:, :, dy, dx], x)
    return out + layer.bias.detach().numpy()[:, None, None]


def _attention(x: Array, layer: SpectralAttention) -> Array:
    """Head by head, channel pair by channel pair."""
    bands = len(x)
    pixels = x.reshape(bands, -1).T
    q, k, v = (_linear(pixels, part) for part in (layer.query, layer.key, layer.value))
    width = bands // layer.heads
    mixed = np.zeros_like(pixels)
    for head in range(layer.heads):
        own = range(head * width, (head + 1) * width)
        for i in own:
            cosines = [k[:, i] @ q[:, j] / np.linalg.norm(k[:, i]) / np.linalg.norm(q[:, j]) for j in own]
            shares = softmax(np.array(cosines) * float(layer.temperature[head].detach()))
            mixed[:, i] = sum(share * v[:, j] for share, j in zip(shares, own, strict=True))
    out = _linear(mixed, layer.join).T.reshape(x.shape)
    if layer.position is None:
        return out
    first, _, second = layer.position
    return out + convolved(_gelu(convolved(v.T.reshape(x.shape), first)), second)


def _mst_block(x: Array, block: Any) -> Array:
    x = x + _attention(x, block.attention)
    centred = x - x.mean(axis=0)
    normed = centred / np.sqrt(x.var(axis=0) + 1e-5)
    scale, shift = (p.detach().numpy()[:, None, None] for p in (block.norm.weight, block.norm.bias))
    first, _, second, _, third = block.forth
    inner = _gelu(convolved(normed * scale + shift, first))
    return x + convolved(_gelu(convolved(inner, second)), third)


def _mst_transformer(x: Array, net: Any) -> Array:
    one = _mst_block(convolved(x, net.head), net.encoder[0])
    two = _mst_block(convolved(one, net.down[0], stride=2, edge=1), net.encoder[1])
    low = _mst_block(convolved(two, net.down[1], stride=2, edge=1), net.middle)
    y = np.concatenate([_raised(low, net.up[0]), two])
    y = _mst_block(convolved(y, net.join[0]), net.decoder[0])
    y = np.concatenate([_raised(y, net.up[1]), one])
    y = _mst_block(convolved(y, net.join[1]), net.decoder[1])
    return convolved(y, net.tail) + x


def _mst_plus_plus(image: Array, net: Any) -> Array:
    rows, columns = image.shape[1:]
    image = np.pad(image, ((0, 0), (0, -rows % 8), (0, -columns % 8)), mode="reflect")
    x = y = convolved(image, net.head)
    for transformer in net.body:
        y = _mst_transformer(y, transformer)
    past = x if net.past is None else convolved(image, net.past)
    return (convolved(y, net.tail) + past)[:, :rows, :columns]


def _relu(x: Array) -> Array:
    return np.maximum(x, 0)


def _hscnn_plus(image: Array, net: Any) -> Array:
    def paths(x: Array, part: Any) -> list[Array]:
        up = _relu(convolved(x, part.wide[0]))
        down = _relu(convolved(x, part.wide[1]))
        return [up, _relu(convolved(up, part.narrow[0])), down, _relu(convolved(down, part.narrow[1]))]

    known = paths(image, net.head)
    for block in net.body:
        added = paths(_relu(convolved(np.concatenate(known), block.narrow)), block.paths)
        known.append(_relu(convolved(np.concatenate(added), block.join)))
    return convolved(np.concatenate(known), net.tail)


def _weighed(x: Array, part: Any) -> Array:
    bands = len(x)
    scores = convolved(x, part.where).ravel()
    shares = np.exp(scores - scores.max())
    averages = np.array([np.average(x[band].ravel(), weights=shares) for band in range(bands)])
    first, turn, second, _ = part.layers
    levels = _linear(_prelu(_linear(averages, first), turn), second)
    return x / (1 + np.exp(-levels))[:, None, None]


def _second_order(x: Array, part: Any) -> Array:
    """Pixel by pixel of each quarter, by NumPy's covariance."""
    rows, columns = x.shape[1:]
    out = x.copy()
    for ys in (range(rows // 2), range(rows // 2, rows)):
        for xs in (range(columns // 2), range(columns // 2, columns)):
            places = [(i, j) for i in ys for j in xs]
            features = [_weights(part.alike)[:, :, 0, 0] @ x[:, i, j] for i, j in places]
            given = [_weights(part.given)[:, :, 0, 0] @ x[:, i, j] for i, j in places]
            for own, (i, j) in zip(features, places, strict=True):
                alike = [np.cov(own, other, bias=True)[0, 1] for other in features]
                learnt = sum(share * one for share, one in zip(softmax(alike), given, strict=True))
                out[:, i, j] += _weights(part.join)[:, :, 0, 0] @ learnt
    return out


def _awan(image: Array, net: Any) -> Array:
    def mirrored_conv(x: Array, layer: nn.Module) -> Array:
        return convolved(x, layer, mirror=True)

    first, turn, second = net.head
    x = residual = start = mirrored_conv(_prelu(mirrored_conv(image, first), turn), second)
    for block in net.body:
        one, turn, two = block.inner
        y = _prelu(x + mirrored_conv(_prelu(mirrored_conv(x, one), turn), two), block.middle)
        residual = _prelu(residual + mirrored_conv(y, block.widen), block.streamed)
        x = _prelu(x + mirrored_conv(_weighed(residual, block.weigh), block.close), block.last)
    turn, last = net.tail
    return _second_order(mirrored_conv(_prelu(mirrored_conv(x, net.join) + start, turn), last), net.far)


def _dster(image: Array, net: Any) -> Array:
    known = [convolved(image, net.head)]
    for join, block in zip(net.join, net.body, strict=True):
        z = convolved(np.concatenate(known), join)
        inner = _relu(convolved(z, block.spatial.first))
        known.append(_attention(z, block.attention) + z + convolved(inner, block.spatial.second))
    return convolved(np.concatenate(known), net.tail) + convolved(image, net.past)


LITERAL = {"mst_plus_plus": _mst_plus_plus, "hscnn_plus": _hscnn_plus, "awan": _awan, "dster": _dster}
