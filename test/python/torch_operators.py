"""The operators of ONNX as PyTorch computes them, by name: `OPERATORS[type](attributes, *inputs)`.

Written from the specification and from nothing of ours, so that it is a second opinion. Tensors are float64 where the file has floats.
"""

import numpy as np
import onnx
import onnx.numpy_helper
import torch
import torch.nn.functional as F

DTYPES = {1: torch.float64, 2: torch.uint8, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float64, 11: torch.float64}
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def tensor(array):
    value = torch.from_numpy(np.array(array))
    return value.double() if value.is_floating_point() else value


def ints(value):
    return [int(v) for v in value.reshape(-1).tolist()]


def padded(x, attrs, rank, fill=0.0):
    pads = attrs.get("pads") or [0] * (2 * rank)
    flat = []
    for axis in reversed(range(rank)):
        flat += [pads[axis], pads[axis + rank]]
    return F.pad(x, flat, value=fill)


def conv(attrs, x, w, b=None):
    rank = x.dim() - 2
    options = {"stride": attrs.get("strides") or 1, "dilation": attrs.get("dilations") or 1, "groups": attrs.get("group", 1)}
    return CONVOLUTIONS[rank](padded(x, attrs, rank), w, b, **options)


def conv_transpose(attrs, x, w, b=None):
    rank = x.dim() - 2
    strides = attrs.get("strides") or [1] * rank
    dilations = attrs.get("dilations") or [1] * rank
    pads = attrs.get("pads") or [0] * (2 * rank)
    extra = attrs.get("output_padding") or [0] * rank
    full = TRANSPOSED[rank](x, w, None, stride=strides, dilation=dilations, groups=attrs.get("group", 1))
    for axis in range(rank):
        length = full.shape[axis + 2] + extra[axis] - pads[axis] - pads[axis + rank]
        end = pads[axis] + length
        if end > full.shape[axis + 2]:
            grow = [0] * (2 * rank)
            grow[2 * (rank - 1 - axis) + 1] = end - full.shape[axis + 2]
            full = F.pad(full, grow)
        full = full.narrow(axis + 2, pads[axis], length)
    return full if b is None else full + b.reshape(1, -1, *[1] * rank)


def max_pool(attrs, x):
    """The maxima, and where they stand in all of x."""
    rank = x.dim() - 2
    kernel = attrs["kernel_shape"]
    strides = attrs.get("strides") or [1] * rank
    dilations = attrs.get("dilations") or [1] * rank
    pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[rank]
    places = torch.arange(x.numel()).reshape(x.shape)
    if attrs.get("ceil_mode"):
        pads = attrs.get("pads") or [0] * (2 * rank)
        maxima, found = pool(x, kernel, strides, pads[:rank], dilations, ceil_mode=True, return_indices=True)
    else:
        places = padded(places, attrs, rank, -1)
        maxima, found = pool(padded(x, attrs, rank, float("-inf")), kernel, strides, 0, dilations, return_indices=True)
    return maxima, places.flatten(2).gather(2, found.flatten(2)).reshape(maxima.shape)


def slice_(attrs, x, starts, ends, axes=None, steps=None):
    starts, ends = ints(starts), ints(ends)
    axes = ints(axes) if axes is not None else list(range(len(starts)))
    steps = ints(steps) if steps is not None else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps):
        length = x.shape[axis]
        index = range(*slice(max(start, -length - 1) if step > 0 else start, None if step < 0 and end < -length else end, step).indices(length))
        x = x.index_select(axis, torch.tensor(list(index), dtype=torch.int64))
    return x


def pad(attrs, x, pads, value=None, axes=None):
    if attrs.get("mode", "constant") != "constant" or axes is not None:
        raise NotImplementedError("Pad other than constant")
    amounts = ints(pads)
    rank = x.dim()
    flat = []
    for axis in reversed(range(rank)):
        flat += [amounts[axis], amounts[axis + rank]]
    # Padding first: what is then cut off may be more than there was.
    grown = F.pad(x, [max(amount, 0) for amount in flat], value=0 if value is None else value.item())
    return F.pad(grown, [min(amount, 0) for amount in flat])


def reduced(kind):
    def run(attrs, x, axes=None):
        given = ints(axes) if axes is not None else []
        if not given and attrs.get("noop_with_empty_axes"):
            return x
        dims = given or list(range(x.dim()))
        keep = bool(attrs.get("keepdims", 1))
        if kind == "sum":
            return x.sum(dims, keepdim=keep).to(x.dtype)
        if kind == "squares":
            return (x * x).sum(dims, keepdim=keep)
        if kind == "mean":
            return x.mean(dims, keepdim=keep)
        return (x.amax if kind == "max" else x.amin)(dims, keepdim=keep)

    return run


def resize(attrs, x, roi=None, scales=None, sizes=None):
    axes = attrs.get("axes") or list(range(x.dim()))
    for i, axis in enumerate(axes):
        length = x.shape[axis]
        scale = float(scales.reshape(-1)[i]) if sizes is None else int(sizes.reshape(-1)[i]) / length
        output = int(np.floor(length * scale)) if sizes is None else int(sizes.reshape(-1)[i])
        if output == length and scale == 1:
            continue
        o = torch.arange(output, dtype=torch.float64)
        mode = attrs.get("coordinate_transformation_mode", "half_pixel")
        if mode == "align_corners":
            source = o * (length - 1) / max(output - 1, 1)
        elif mode == "asymmetric":
            source = o / scale
        elif mode == "half_pixel" or (mode == "pytorch_half_pixel" and output > 1):
            source = (o + 0.5) / scale - 0.5
        else:
            raise NotImplementedError(mode)
        if attrs.get("mode", "nearest") == "linear":
            source = source.clamp(0, length - 1)
            low = source.floor().long()
            high = (low + 1).clamp(max=length - 1)
            weight = (source - low).reshape([-1 if a == axis else 1 for a in range(x.dim())])
            x = x.index_select(axis, low) * (1 - weight) + x.index_select(axis, high) * weight
        elif attrs.get("mode", "nearest") == "nearest":
            rounding = attrs.get("nearest_mode", "round_prefer_floor")
            rounders = {"floor": torch.floor, "ceil": torch.ceil, "round_prefer_floor": lambda v: torch.ceil(v - 0.5), "round_prefer_ceil": lambda v: torch.floor(v + 0.5)}
            x = x.index_select(axis, rounders[rounding](source).clamp(0, length - 1).long())
        else:
            raise NotImplementedError("cubic")
    return x


def topk(attrs, x, k):
    return torch.topk(x, int(k.reshape(-1)[0]), dim=attrs.get("axis", -1), largest=bool(attrs.get("largest", 1)), sorted=True)


def scatter_elements(attrs, x, index, updates):
    axis = attrs.get("axis", 0)
    index = torch.where(index < 0, index + x.shape[axis], index).long()
    return x.scatter_add(axis, index, updates) if attrs.get("reduction", "none") == "add" else x.scatter(axis, index, updates)


def scatter_nd(attrs, x, index, updates):
    return x.index_put(tuple(index[..., i] for i in range(index.shape[-1])), updates, accumulate=attrs.get("reduction", "none") == "add")


def cumsum(attrs, x, axis):
    dim = int(axis.reshape(-1)[0])
    turned = x.flip(dim) if attrs.get("reverse") else x
    total = turned.cumsum(dim).to(x.dtype)
    if attrs.get("exclusive"):
        total = total - turned
    return total.flip(dim) if attrs.get("reverse") else total


def reshape(attrs, x, shape):
    target = ints(shape)
    if not attrs.get("allowzero"):
        target = [x.shape[i] if size == 0 else size for i, size in enumerate(target)]
    return x.reshape(target)


def layer_norm(attrs, x, scale, bias=None):
    axis = attrs.get("axis", -1) % x.dim()
    return F.layer_norm(x, x.shape[axis:], scale, bias, attrs.get("epsilon", 1e-5))


def split(attrs, x, sizes=None):
    if sizes is not None:
        return torch.split(x, ints(sizes), attrs.get("axis", 0))
    axis, count = attrs.get("axis", 0), attrs["num_outputs"]
    return torch.split(x, -(-x.shape[axis] // count), axis)


def div(attrs, a, b):
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def gather(attrs, x, index):
    axis = attrs.get("axis", 0) % x.dim()
    index = torch.where(index < 0, index + x.shape[axis], index).long()
    return x.index_select(axis, index.reshape(-1)).reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def squeeze(attrs, x, axes=None):
    return x.squeeze() if axes is None else x.squeeze(tuple(ints(axes)))


def unsqueeze(attrs, x, axes):
    rank = x.dim() + axes.numel()
    for axis in sorted(a % rank for a in ints(axes)):
        x = x.unsqueeze(axis)
    return x


def simple(function):
    return lambda attrs, *x: function(*x)


def depth_to_space(attrs, x):
    size, (n, c, h, w) = attrs["blocksize"], x.shape
    if attrs.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, size)
    return x.reshape(n, size, size, c // size**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // size**2, h * size, w * size)


OPERATORS = {
    "Abs": simple(torch.abs), "Add": simple(torch.add), "And": simple(torch.logical_and), "Ceil": simple(torch.ceil),
    "ArgMax": lambda attrs, x: x.argmax(attrs.get("axis", 0), keepdim=bool(attrs.get("keepdims", 1))),
    "BatchNormalization": lambda attrs, x, scale, bias, mean, var: F.batch_norm(x, mean, var, scale, bias, False, 0, attrs.get("epsilon", 1e-5)),
    "Cast": lambda attrs, x: x.to(DTYPES[attrs["to"]]),
    "Clip": lambda attrs, x, low=None, high=None: torch.clamp(x, low, high),
    "Concat": lambda attrs, *x: torch.cat(x, attrs["axis"]),
    "ConstantOfShape": lambda attrs, shape: torch.full(ints(shape), (attrs["value"].item() if "value" in attrs else 0.0), dtype=attrs["value"].dtype if "value" in attrs else torch.float64),
    "Conv": conv, "ConvTranspose": conv_transpose, "CumSum": cumsum, "Div": div,
    "DepthToSpace": depth_to_space,
    "Equal": simple(torch.eq), "Erf": simple(torch.erf), "Exp": simple(torch.exp),
    "Expand": lambda attrs, x, shape: x * torch.ones(ints(shape), dtype=x.dtype) if x.dtype != torch.bool else x & torch.ones(ints(shape), dtype=torch.bool),
    "Floor": simple(torch.floor), "Gather": gather,
    "GatherElements": lambda attrs, x, index: x.gather(attrs.get("axis", 0), index.long()),
    "GlobalAveragePool": lambda attrs, x: x.mean(list(range(2, x.dim())), keepdim=True),
    "Greater": simple(torch.gt), "GreaterOrEqual": simple(torch.ge),
    "HardSigmoid": lambda attrs, x: torch.clamp(attrs.get("alpha", 0.2) * x + attrs.get("beta", 0.5), 0, 1),
    "HardSwish": lambda attrs, x: x * torch.clamp(x / 6 + 0.5, 0, 1),
    "Identity": lambda attrs, x: x.clone(),
    "InstanceNormalization": lambda attrs, x, scale, bias: F.instance_norm(x, weight=scale, bias=bias, eps=attrs.get("epsilon", 1e-5)),
    "IsNaN": simple(torch.isnan), "LayerNormalization": layer_norm, "Less": simple(torch.lt), "LessOrEqual": simple(torch.le), "Log": simple(torch.log),
    "MatMul": simple(torch.matmul), "MaxPool": max_pool,
    "Max": lambda attrs, *x: x[0] if len(x) == 1 else torch.maximum(*x), "Min": lambda attrs, *x: x[0] if len(x) == 1 else torch.minimum(*x),
    "Mod": simple(torch.remainder), "Mul": simple(torch.mul), "Neg": simple(torch.neg),
    "NonZero": lambda attrs, x: torch.nonzero(x).T, "Not": simple(torch.logical_not), "Or": simple(torch.logical_or), "Pad": pad, "Pow": simple(torch.pow),
    "Range": simple(lambda a, b, c: torch.arange(a.item(), b.item(), c.item(), dtype=a.dtype)),
    "Reciprocal": simple(torch.reciprocal), "ReduceMax": reduced("max"), "ReduceMean": reduced("mean"), "ReduceMin": reduced("min"),
    "ReduceSum": reduced("sum"), "ReduceSumSquare": reduced("squares"), "Relu": simple(torch.relu), "Reshape": reshape, "Resize": resize,
    "ScatterElements": scatter_elements, "ScatterND": scatter_nd,
    "Shape": lambda attrs, x: torch.tensor(list(x.shape)[attrs.get("start", 0) : attrs.get("end")], dtype=torch.int64),
    "Sigmoid": simple(torch.sigmoid), "Sign": simple(torch.sign), "Size": lambda attrs, x: torch.tensor(x.numel()), "Slice": slice_,
    "Softmax": lambda attrs, x: torch.softmax(x, attrs.get("axis", -1)), "Split": split, "Sqrt": simple(torch.sqrt), "Squeeze": squeeze,
    "Sub": simple(torch.sub), "Tanh": simple(torch.tanh), "TopK": topk,
    "Transpose": lambda attrs, x: x.permute(*(attrs.get("perm") or reversed(range(x.dim())))),
    "Unsqueeze": unsqueeze, "Where": simple(torch.where),
}


def attribute(item):
    value = onnx.helper.get_attribute_value(item)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return tensor(onnx.numpy_helper.to_array(value))
    return list(value) if isinstance(value, (list, tuple)) or hasattr(value, "append") else value


