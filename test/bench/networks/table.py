"""The networks by name, with the number of classes each is measured with; one class is a one-channel head."""

import torch
from torch import nn

from .deeplab import DeepLabMobile, DeepLabPlus, DeepLabR50
from .erfnet import erfnet
from .hrnet import HRNetW18
from .lraspp import LRASPP
from .pyramids import FPN, Linknet
from .segformer import SegFormerB0
from .unet import UNetMobile, UNetR18, UNetTranspose

NETWORKS = {
    "unet_resnet18": (UNetR18, 12),
    "lraspp_mobilenetv3": (LRASPP, 19),
    "unet_convtranspose": (UNetTranspose, 12),
    "erfnet": (erfnet, 19),
    "segformer_b0": (SegFormerB0, 19),
    "deeplabv3_mobilenetv3_aux": (DeepLabMobile, 21),
    "deeplabv3plus_mobilenetv2": (DeepLabPlus, 19),
    "fpn_mobilenetv3_small": (FPN, 11),
    "linknet": (Linknet, 11),
    "unet_binary": (UNetMobile, 1),
    "hrnet_w18": (HRNetW18, 19),
    "deeplabv3_resnet50": (DeepLabR50, 19),
}


def classes_of(name):
    return NETWORKS[name][1]


def build(name, classes=None):
    """The network in evaluation mode with seeded weights; batch statistics near those that its activations have."""
    torch.manual_seed(0)
    network = NETWORKS[name][0](classes or classes_of(name))
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(2, 3, 128, 128))
    return network.eval()


def folded(network):
    """Batch normalization folded into the convolution before it, wherever one follows directly, as exporters do."""
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for i in range(len(module) - 1):
            if isinstance(module[i], nn.Conv2d) and isinstance(module[i + 1], nn.BatchNorm2d):
                module[i] = nn.utils.fusion.fuse_conv_bn_eval(module[i], module[i + 1])
                module[i + 1] = nn.Identity()
    return network
