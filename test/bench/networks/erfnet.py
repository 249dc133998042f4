"""ERFNet: factorized residual blocks between downsampling by convolution beside pooling and transposed convolutions."""

import torch
import torch.nn.functional as F
from torch import nn


class NonBottleneck(nn.Module):
    def __init__(self, c, dilation):
        super().__init__()
        d = dilation
        self.a, self.b = nn.Conv2d(c, c, (3, 1), padding=(1, 0)), nn.Conv2d(c, c, (1, 3), padding=(0, 1), bias=False)
        self.c, self.d = nn.Conv2d(c, c, (3, 1), padding=(d, 0), dilation=(d, 1)), nn.Conv2d(c, c, (1, 3), padding=(0, d), dilation=(1, d), bias=False)
        self.n, self.m = nn.BatchNorm2d(c), nn.BatchNorm2d(c)

    def forward(self, x):
        y = F.relu(self.n(self.b(F.relu(self.a(x)))))
        return F.relu(self.m(self.d(F.relu(self.c(y)))) + x)


class Down(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(cin, cout - cin, 3, 2, 1), nn.BatchNorm2d(cout)

    def forward(self, x):
        return F.relu(self.norm(torch.cat([self.conv(x), F.max_pool2d(x, 2)], 1)))


def erfnet(classes, widths=(16, 64, 128), plain=5, rounds=2, after=2):
    """As published; `plain` blocks before the dilated ones, which come `rounds` times, and `after` each upsampling."""
    a, b, c = widths
    up = lambda cin, cout: nn.Sequential(nn.ConvTranspose2d(cin, cout, 3, 2, 1, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())  # noqa: E731
    body = [Down(3, a), Down(a, b), *(NonBottleneck(b, 1) for _ in range(plain)), Down(b, c)]
    body += [NonBottleneck(c, d) for _ in range(rounds) for d in (2, 4, 8, 16)]
    for cin, cout in ((c, b), (b, a)):
        body += [up(cin, cout), *(NonBottleneck(cout, 1) for _ in range(after))]
    return nn.Sequential(*body, nn.ConvTranspose2d(a, classes, 2, 2))
