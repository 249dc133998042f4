"""The encoders of the MobileNet family: lists of stages, each a module, from which a decoder takes what it reads."""

from torch import nn

from .blocks import Inverted, conv_bn, round_channels

R, H = nn.ReLU, nn.Hardswish

# kernel, expanded, out, squeeze, activation, stride, dilation: MobileNetV3-Large with its last stage dilated, as torchvision segments with.
LARGE = [(3, 16, 16, 0, R, 1, 1), (3, 64, 24, 0, R, 2, 1), (3, 72, 24, 0, R, 1, 1), (5, 72, 40, 1, R, 2, 1), (5, 120, 40, 1, R, 1, 1)]
LARGE += [(5, 120, 40, 1, R, 1, 1), (3, 240, 80, 0, H, 2, 1), (3, 200, 80, 0, H, 1, 1), (3, 184, 80, 0, H, 1, 1), (3, 184, 80, 0, H, 1, 1)]
LARGE += [(3, 480, 112, 1, H, 1, 1), (3, 672, 112, 1, H, 1, 1), (5, 672, 160, 1, H, 2, 2), (5, 960, 160, 1, H, 1, 2), (5, 960, 160, 1, H, 1, 2)]


def mobilenet_v3_large(width=1.0):
    """Seventeen layers and the channels of the last: stem, fifteen blocks, the last convolution; strides 2 to 16."""
    scaled = lambda channels: round_channels(channels * width)  # noqa: E731
    cin = scaled(16)
    layers = [conv_bn(3, cin, 3, 2, act=H)]
    for k, expand, cout, se, act, stride, dilation in LARGE:
        layers.append(Inverted(cin, k, scaled(expand), scaled(cout), se, act, stride, dilation))
        cin = scaled(cout)
    return nn.ModuleList([*layers, conv_bn(cin, 6 * cin, 1, act=H)]), 6 * cin


SMALL_CHANNELS = (16, 8, 16, 24, 288)


def mobilenet_v3_small_050():
    """Five stages, each at half the size of the one before, with SMALL_CHANNELS channels; half the published width."""
    first = [Inverted(16, 3, 16, 8, 1, R, 2)]
    second = [Inverted(8, 3, 40, 16, 0, R, 2), Inverted(16, 3, 56, 16, 0, R, 1)]
    third = [Inverted(16, 5, 64, 24, 1, H, 2), *(Inverted(24, 5, 144, 24, 1, H, 1) for _ in range(2)), *(Inverted(24, 5, 72, 24, 1, H, 1) for _ in range(2))]
    fourth = [Inverted(24, 5, 144, 48, 1, H, 2), *(Inverted(48, 5, 288, 48, 1, H, 1) for _ in range(2)), conv_bn(48, 288, 1, act=H)]
    return nn.ModuleList([conv_bn(3, 16, 3, 2, act=H), *(nn.Sequential(*blocks) for blocks in (first, second, third, fourth))])


def mobilenet_v2():
    """Two parts, to 24 channels at a quarter of the size and to 1280 at a sixteenth: the last stage is dilated instead of strided."""
    layers, cin = [conv_bn(3, 32, 3, 2, act=nn.ReLU6)], 32
    # The dilated convolutions of one pixel are left plain: they are the same.
    stages = ((1, 16, 1, 1, 1), (6, 24, 2, 2, 1), (6, 32, 3, 2, 1), (6, 64, 4, 2, 1), (6, 96, 3, 1, 1), (6, 160, 3, 2, 2), (6, 320, 1, 1, 2))
    for expand, cout, count, stride, dilation in stages:
        for i in range(count):
            layers.append(Inverted(cin, 3, cin * expand, cout, 0, nn.ReLU6, stride if i == 0 else 1, dilation))
            cin = cout
    layers.append(conv_bn(320, 1280, 1, act=nn.ReLU6))
    return nn.Sequential(*layers[:4]), nn.Sequential(*layers[4:])
