"""Convolutional and patch-based models."""

# ruff: noqa: E501 - statements of the language are one string each

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.conformance.case import case, rows

LENET = (
    "Sequential(Conv2d(1, 6, 5, padding=2), Sigmoid(), AvgPool2d(2, stride=2), Conv2d(6, 16, 5), Sigmoid(), "
    "AvgPool2d(2, stride=2), Flatten(), Linear(400, 120), Sigmoid(), Linear(120, 84), Sigmoid(), Linear(84, 10))"
)


@case(LENET, rows(1, 28, 28), "LeNet")
def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2, stride=2), nn.Conv2d(6, 16, 5), nn.Sigmoid(),
        nn.AvgPool2d(2, stride=2), nn.Flatten(), nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(),
        nn.Linear(84, 10),
    )  # fmt: skip


VGG = {
    "modules": {
        "features": {
            "parameters": ["plan"],
            "init": [
                "layers = []",
                "inside = 3",
                {
                    "for": "size in plan",
                    "do": [
                        {
                            "if": "size == 'M'",
                            "then": ["layers.append(MaxPool2d(2, 2))"],
                            "else": [
                                "layers += [Conv2d(inside, size, 3, padding=1), BatchNorm2d(size), ReLU(inplace=True)]",
                                "inside = size",
                            ],
                        }
                    ],
                },
            ],
            "returns": "Sequential(*layers)",
        },
        "VGG": {
            "init": [
                {"features": "features([8, 'M', 16, 'M', 16, 16, 'M'])"},
                {"pool": "AdaptiveAvgPool2d((2, 2))"},
                {"classifier": "Sequential(Linear(64, 32), ReLU(True), Dropout(p=0.5), Linear(32, 10))"},
                {
                    "weights": [
                        {"type": "Conv2d", "init": "kaiming_normal_(mode='fan_out', nonlinearity='relu')"},
                        {"type": "Conv2d", "parameter": "bias", "init": "zeros_()"},
                        {"type": "Linear", "init": "normal_(0, 0.01)"},
                        {"type": "Linear", "parameter": "bias", "init": "constant_(0)"},
                    ]
                },
            ],
            "forward": ["x = self.pool(self.features(x))", "return self.classifier(torch.flatten(x, 1))"],
        },
    },
    "model": "VGG()",
}


@case(VGG, rows(3, 16, 16))
class VGGModule(nn.Module):
    def __init__(self):
        super().__init__()
        layers, inside = [], 3
        for size in [8, "M", 16, "M", 16, 16, "M"]:
            if size == "M":
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [nn.Conv2d(inside, size, 3, padding=1), nn.BatchNorm2d(size), nn.ReLU(inplace=True)]
                inside = size
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(nn.Linear(64, 32), nn.ReLU(True), nn.Dropout(p=0.5), nn.Linear(32, 10))

        def initialise(m):
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(m.bias)
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, 0, 0.01)
                nn.init.constant_(m.bias, 0)

        self.apply(initialise)

    def forward(self, x):
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


RESNET = {
    "modules": {
        "conv3x3": {
            "parameters": ["inside", "outside", {"name": "stride", "default": 1}],
            "returns": "Conv2d(inside, outside, kernel_size=3, stride=stride, padding=1, bias=False)",
        },
        "BasicBlock": {
            "parameters": [
                "inplanes",
                "planes",
                {"name": "stride", "default": 1},
                {"name": "project", "default": False},
            ],
            "init": [
                {"conv1": "conv3x3(inplanes, planes, stride)"},
                {"bn1": "BatchNorm2d(planes)"},
                {"relu": "ReLU(inplace=True)"},
                {"conv2": "conv3x3(planes, planes)"},
                {"bn2": "BatchNorm2d(planes)"},
                {
                    "downsample": "Sequential(Conv2d(inplanes, planes, 1, stride=stride, bias=False), "
                    "BatchNorm2d(planes)) if project else None"
                },
            ],
            "forward": [
                "identity = x",
                "out = self.relu(self.bn1(self.conv1(x)))",
                "out = self.bn2(self.conv2(out))",
                {"if": "self.downsample is not None", "then": ["identity = self.downsample(x)"]},
                "out += identity",
                "return self.relu(out)",
            ],
        },
        "stage": {
            "parameters": ["inplanes", "planes", "blocks", "stride"],
            "returns": "Sequential(BasicBlock(inplanes, planes, stride, stride != 1 or inplanes != planes), "
            "*[BasicBlock(planes, planes) for i in range(1, blocks)])",
        },
        "ResNet": {
            "parameters": ["blocks", "width", {"name": "classes", "default": 10}],
            "init": [
                {"conv1": "Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)"},
                {"bn1": "BatchNorm2d(width)"},
                {"relu": "ReLU(inplace=True)"},
                {"maxpool": "MaxPool2d(kernel_size=3, stride=2, padding=1)"},
                "inplanes = width",
                {
                    "for": "i, count in enumerate(blocks)",
                    "do": [
                        "planes = width * 2 ** i",
                        {"layer{i + 1}": "stage(inplanes, planes, count, 1 if i == 0 else 2)"},
                        "inplanes = planes",
                    ],
                },
                {"avgpool": "AdaptiveAvgPool2d((1, 1))"},
                {"fc": "Linear(inplanes, classes)"},
                {"weights": [{"type": "Conv2d", "init": "kaiming_normal_(mode='fan_out', nonlinearity='relu')"}]},
            ],
            "forward": [
                "x = self.maxpool(self.relu(self.bn1(self.conv1(x))))",
                "x = self.layer1(x)",
                {"for": "i in range(1, len(self.blocks))", "do": ["x = self['layer' + str(i + 1)](x)"]},
                "return self.fc(torch.flatten(self.avgpool(x), 1))",
            ],
        },
    },
    "model": {"type": "ResNet", "blocks": [2, 2, 2, 2], "width": 8},
}


class BasicBlock(nn.Module):
    def __init__(self, inplanes, planes, stride=1, project=False):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = None
        if project:
            conv = nn.Conv2d(inplanes, planes, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(planes))

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


@case(RESNET, rows(3, 32, 32))
class ResNet18(nn.Module):
    def __init__(self, width=8, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inside = width
        for i in range(4):
            planes, stride = width * 2**i, 1 if i == 0 else 2
            first = BasicBlock(inside, planes, stride, stride != 1 or inside != planes)
            setattr(self, f"layer{i + 1}", nn.Sequential(first, BasicBlock(planes, planes)))
            inside = planes
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(inside, classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


DENSENET = {
    "modules": {
        "DenseLayer": {
            "parameters": ["inside", "growth", "rate"],
            "init": [
                {"norm1": "BatchNorm2d(inside)"},
                {"conv1": "Conv2d(inside, 4 * growth, 1, bias=False)"},
                {"norm2": "BatchNorm2d(4 * growth)"},
                {"conv2": "Conv2d(4 * growth, growth, 3, padding=1, bias=False)"},
            ],
            "forward": {
                "arguments": ["features"],
                "body": [
                    "x = torch.cat(features, 1)",
                    "x = self.conv1(F.relu(self.norm1(x)))",
                    "x = self.conv2(F.relu(self.norm2(x)))",
                    {
                        "if": "self.rate > 0",
                        "then": ["x = F.dropout(x, p=self.rate, training=self.training)"],
                    },
                    "return x",
                ],
            },
        },
        "DenseBlock": {
            "parameters": ["count", "inside", "growth", "rate"],
            "init": [
                {
                    "for": "i in range(count)",
                    "do": [{"denselayer{i + 1}": "DenseLayer(inside + i * growth, growth, rate)"}],
                }
            ],
            "forward": [
                "features = [x]",
                {
                    "for": "i in range(self.count)",
                    "do": ["features.append(self['denselayer' + str(i + 1)](features))"],
                },
                "return torch.cat(features, 1)",
            ],
        },
        "DenseNet": {
            "init": [
                {"stem": "Conv2d(3, 8, 3, padding=1)"},
                {"block1": "DenseBlock(3, 8, 4, 0.2)"},
                {"down": "Sequential(BatchNorm2d(20), ReLU(), Conv2d(20, 10, 1), AvgPool2d(2))"},
                {"block2": "DenseBlock(2, 10, 4, 0.0)"},
                {"head": "Linear(18, 5)"},
            ],
            "forward": [
                "x = self.block2(self.down(self.block1(self.stem(x))))",
                "return self.head(F.adaptive_avg_pool2d(F.relu(x), (1, 1)).flatten(1))",
            ],
        },
    },
    "model": "DenseNet()",
}


class DenseLayer(nn.Module):
    def __init__(self, inside, growth, rate):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inside)
        self.conv1 = nn.Conv2d(inside, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)
        self.rate = rate

    def forward(self, features):
        x = self.conv1(F.relu(self.norm1(torch.cat(features, 1))))
        x = self.conv2(F.relu(self.norm2(x)))
        return F.dropout(x, self.rate, self.training) if self.rate > 0 else x


class DenseBlock(nn.ModuleDict):
    def __init__(self, count, inside, growth, rate):
        super().__init__()
        for i in range(count):
            self.add_module(f"denselayer{i + 1}", DenseLayer(inside + i * growth, growth, rate))

    def forward(self, x):
        features = [x]
        for layer in self.values():
            features.append(layer(features))
        return torch.cat(features, 1)


@case(DENSENET, rows(3, 8, 8))
class DenseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.block1 = DenseBlock(3, 8, 4, 0.2)
        self.down = nn.Sequential(nn.BatchNorm2d(20), nn.ReLU(), nn.Conv2d(20, 10, 1), nn.AvgPool2d(2))
        self.block2 = DenseBlock(2, 10, 4, 0.0)
        self.head = nn.Linear(18, 5)

    def forward(self, x):
        x = self.block2(self.down(self.block1(self.stem(x))))
        return self.head(F.adaptive_avg_pool2d(F.relu(x), (1, 1)).flatten(1))


INCEPTION = {
    "modules": {
        "conv": {
            "parameters": ["inside", "outside", "kernel", {"name": "padding", "default": 0}],
            "returns": "Sequential(Conv2d(inside, outside, kernel, padding=padding), BatchNorm2d(outside, eps=0.001), ReLU())",
        },
        "Inception": {
            "parameters": ["inside", "plan"],
            "init": [
                {"branch1": "conv(inside, plan[0], 1)"},
                {"branch2": "Sequential(conv(inside, plan[1][0], 1), conv(plan[1][0], plan[1][1], 3, padding=1))"},
                {"branch3": "Sequential(conv(inside, plan[2][0], 1), conv(plan[2][0], plan[2][1], 5, padding=2))"},
                {"branch4": "Sequential(MaxPool2d(3, stride=1, padding=1), conv(inside, plan[3], 1))"},
            ],
            "forward": [
                "return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)"
            ],
        },
    },
    "model": "Sequential(Inception(3, (4, (3, 4), (2, 4), 4)), Inception(16, (2, (3, 3), (2, 2), 1)), Flatten(), Linear(512, 3))",
}


def conv(inside, outside, kernel, padding=0):
    layer = nn.Conv2d(inside, outside, kernel, padding=padding)
    return nn.Sequential(layer, nn.BatchNorm2d(outside, eps=0.001), nn.ReLU())


class Inception(nn.Module):
    def __init__(self, inside, plan):
        super().__init__()
        one, two, three, four = plan
        self.branch1 = conv(inside, one, 1)
        self.branch2 = nn.Sequential(conv(inside, two[0], 1), conv(two[0], two[1], 3, padding=1))
        self.branch3 = nn.Sequential(conv(inside, three[0], 1), conv(three[0], three[1], 5, padding=2))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), conv(inside, four, 1))

    def forward(self, x):
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


@case(INCEPTION, rows(3, 8, 8), "Inception")
def inception():
    return nn.Sequential(
        Inception(3, (4, (3, 4), (2, 4), 4)), Inception(16, (2, (3, 3), (2, 2), 1)), nn.Flatten(), nn.Linear(512, 3)
    )


MOBILENET = {
    "modules": {
        "InvertedResidual": {
            "parameters": ["inside", "outside", "stride", "expand"],
            "init": [
                "hidden = int(round(inside * expand))",
                "layers = []",
                {
                    "if": "expand != 1",
                    "then": [
                        "layers.extend([Conv2d(inside, hidden, 1, bias=False), BatchNorm2d(hidden), ReLU6(True)])"
                    ],
                },
                "layers.extend([Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), BatchNorm2d(hidden), ReLU6(True)])",
                "layers.extend([Conv2d(hidden, outside, 1, bias=False), BatchNorm2d(outside)])",
                {"conv": "Sequential(*layers)"},
                {"shortcut": {"value": "stride == 1 and inside == outside"}},
            ],
            "forward": ["return x + self.conv(x) if self.shortcut else self.conv(x)"],
        },
        "MobileNetV2": {
            "init": [
                "features = [Sequential(Conv2d(3, 8, 3, 2, 1, bias=False), BatchNorm2d(8), ReLU6(True))]",
                "inside = 8",
                {
                    "for": "t, c, n, s in [(1, 8, 1, 1), (6, 12, 2, 2)]",
                    "do": [
                        {
                            "for": "i in range(n)",
                            "do": ["features.append(InvertedResidual(inside, c, s if i == 0 else 1, t))", "inside = c"],
                        }
                    ],
                },
                {"features": "Sequential(*features)"},
                {"classifier": "Sequential(Dropout(0.2), Linear(12, 4))"},
            ],
            "forward": ["x = self.features(x)", "x = x.mean([2, 3])", "return self.classifier(x)"],
        },
    },
    "model": "MobileNetV2()",
}


class InvertedResidual(nn.Module):
    def __init__(self, inside, outside, stride, expand):
        super().__init__()
        hidden = round(inside * expand)
        layers = []
        if expand != 1:
            layers += [nn.Conv2d(inside, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(True)]
        depthwise = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False)
        layers += [depthwise, nn.BatchNorm2d(hidden), nn.ReLU6(True)]
        layers += [nn.Conv2d(hidden, outside, 1, bias=False), nn.BatchNorm2d(outside)]
        self.conv = nn.Sequential(*layers)
        self.shortcut = stride == 1 and inside == outside

    def forward(self, x):
        return x + self.conv(x) if self.shortcut else self.conv(x)


@case(MOBILENET, rows(3, 16, 16))
class MobileNetV2(nn.Module):
    def __init__(self):
        super().__init__()
        features = [nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(True))]
        inside = 8
        for t, c, n, s in [(1, 8, 1, 1), (6, 12, 2, 2)]:
            for i in range(n):
                features.append(InvertedResidual(inside, c, s if i == 0 else 1, t))
                inside = c
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(12, 4))

    def forward(self, x):
        return self.classifier(self.features(x).mean([2, 3]))


EFFICIENTNET = {
    "modules": {
        "SqueezeExcite": {
            "parameters": ["channels", "squeezed"],
            "init": [{"fc1": "Conv2d(channels, squeezed, 1)"}, {"fc2": "Conv2d(squeezed, channels, 1)"}],
            "forward": [
                "s = F.adaptive_avg_pool2d(x, 1)",
                "s = torch.sigmoid(self.fc2(F.silu(self.fc1(s))))",
                "return x * s",
            ],
        },
        "drop_path": {
            "arguments": ["x", "rate", "training"],
            "body": [
                {"if": "rate == 0.0 or not training", "then": ["return x"]},
                "keep = 1 - rate",
                "mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)",
                "return x * mask.div_(keep)",
            ],
        },
        "MBConv": {
            "parameters": ["inside", "outside", "expand", "rate"],
            "init": [
                "hidden = inside * expand",
                {
                    "block": "Sequential(Conv2d(inside, hidden, 1, bias=False), BatchNorm2d(hidden), SiLU(), "
                    "Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False), BatchNorm2d(hidden), SiLU(), "
                    "SqueezeExcite(hidden, max(1, inside // 4)), Conv2d(hidden, outside, 1, bias=False), BatchNorm2d(outside))"
                },
                {"residual": {"value": "inside == outside"}},
            ],
            "forward": [
                "y = self.block(x)",
                {"if": "self.residual", "then": ["y = x + drop_path(y, self.rate, self.training)"]},
                "return y",
            ],
        },
        "EfficientNet": {
            "init": [
                {"stem": "Sequential(Conv2d(3, 8, 3, 2, 1, bias=False), BatchNorm2d(8), SiLU())"},
                {"blocks": "Sequential(*[MBConv(8, 8, 2, 0.2 * i / 3) for i in range(3)], MBConv(8, 12, 2, 0.0))"},
                {"head": "Linear(12, 4)"},
            ],
            "forward": ["return self.head(self.blocks(self.stem(x)).mean((2, 3)))"],
        },
    },
    "model": "EfficientNet()",
}


class SqueezeExcite(nn.Module):
    def __init__(self, channels, squeezed):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.fc2(F.silu(self.fc1(F.adaptive_avg_pool2d(x, 1)))))


class MBConv(nn.Module):
    def __init__(self, inside, outside, expand, rate):
        super().__init__()
        hidden = inside * expand
        self.block = nn.Sequential(
            nn.Conv2d(inside, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.SiLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.SiLU(),
            SqueezeExcite(hidden, max(1, inside // 4)), nn.Conv2d(hidden, outside, 1, bias=False),
            nn.BatchNorm2d(outside),
        )  # fmt: skip
        self.rate = rate
        self.residual = inside == outside

    def forward(self, x):
        y = self.block(x)
        if not self.residual:
            return y
        if self.rate and self.training:
            keep = 1 - self.rate
            y = y * y.new_empty((y.shape[0], 1, 1, 1)).bernoulli_(keep).div_(keep)
        return x + y


@case(EFFICIENTNET, rows(3, 16, 16))
class EfficientNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.blocks = nn.Sequential(*[MBConv(8, 8, 2, 0.2 * i / 3) for i in range(3)], MBConv(8, 12, 2, 0.0))
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


CONVNEXT = {
    "modules": {
        "LayerNorm2d": {
            "parameters": ["channels"],
            "init": [{"norm": "LayerNorm(channels, eps=1e-6)"}],
            "forward": ["return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)"],
        },
        "Block": {
            "parameters": ["dim", {"name": "scale", "default": 1e-06}],
            "init": [
                {"dwconv": "Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim)"},
                {"norm": "LayerNorm(dim, eps=1e-6)"},
                {"pwconv1": "Linear(dim, 4 * dim)"},
                {"pwconv2": "Linear(4 * dim, dim)"},
                {"gamma": {"parameter": "scale * ones(dim)"}},
                {
                    "weights": [
                        {"type": ["Conv2d", "Linear"], "init": "trunc_normal_(std=0.02)"},
                        {"type": ["Conv2d", "Linear"], "parameter": "bias", "init": "constant_(0)"},
                    ]
                },
            ],
            "forward": [
                "shortcut = x",
                "x = self.dwconv(x).permute(0, 2, 3, 1)",
                "x = self.gamma * self.pwconv2(F.gelu(self.pwconv1(self.norm(x))))",
                "return shortcut + x.permute(0, 3, 1, 2)",
            ],
        },
    },
    "model": "Sequential(Conv2d(3, 8, 4, stride=4), LayerNorm2d(8), Block(8), Block(8), LayerNorm2d(8), "
    "Conv2d(8, 16, 2, stride=2), Block(16, 0.1), AdaptiveAvgPool2d(1), Flatten(), Linear(16, 4))",
}


class LayerNorm2d(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x):
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, dim, scale=1e-6):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(scale * torch.ones(dim))
        self.apply(self._weights)

    def _weights(self, m):
        if isinstance(m, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(m.weight, std=0.02)
            nn.init.constant_(m.bias, 0)

    def forward(self, x):
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + y.permute(0, 3, 1, 2)


@case(CONVNEXT, rows(3, 16, 16), "ConvNeXt")
def convnext():
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, stride=4), LayerNorm2d(8), ConvNeXtBlock(8), ConvNeXtBlock(8), LayerNorm2d(8),
        nn.Conv2d(8, 16, 2, stride=2), ConvNeXtBlock(16, 0.1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip


UNET = {
    "modules": {
        "double": {
            "parameters": ["inside", "outside"],
            "returns": "Sequential(Conv2d(inside, outside, 3, padding=1), BatchNorm2d(outside), ReLU(), "
            "Conv2d(outside, outside, 3, padding=1), ReLU())",
        },
        "UNet": {
            "parameters": [{"name": "widths", "default": [4, 8, 16]}],
            "init": [
                {"down": "ModuleList()"},
                {"up": "ModuleList()"},
                "inside = 1",
                {"for": "width in widths", "do": ["self.down.append(double(inside, width))", "inside = width"]},
                {
                    "for": "width in reversed(widths)",
                    "do": [
                        "self.up.append(ConvTranspose2d(width * 2, width, 2, stride=2))",
                        "self.up.append(double(width * 2, width))",
                    ],
                },
                {"bottom": "double(widths[-1], widths[-1] * 2)"},
                {"final": "Conv2d(widths[0], 2, 1)"},
            ],
            "forward": [
                "skips = []",
                {
                    "for": "layer in self.down",
                    "do": ["x = layer(x)", "skips.append(x)", "x = F.max_pool2d(x, 2)"],
                },
                "x = self.bottom(x)",
                "skips = skips[::-1]",
                {
                    "for": "i in range(0, len(self.up), 2)",
                    "do": [
                        "x = self.up[i](x)",
                        "skip = skips[i // 2]",
                        {
                            "if": "x.shape != skip.shape",
                            "then": ["x = F.interpolate(x, size=skip.shape[2:])"],
                        },
                        "x = self.up[i + 1](torch.cat((skip, x), dim=1))",
                    ],
                },
                "return self.final(x)",
            ],
        },
    },
    "model": "UNet()",
}


def double(inside, outside):
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU(),
        nn.Conv2d(outside, outside, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


@case(UNET, rows(1, 18, 18))
class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        inside = 1
        for width in (4, 8, 16):
            self.down.append(double(inside, width))
            inside = width
        for width in (16, 8, 4):
            self.up.append(nn.ConvTranspose2d(width * 2, width, 2, stride=2))
            self.up.append(double(width * 2, width))
        self.bottom = double(16, 32)
        self.final = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        skips = []
        for layer in self.down:
            x = layer(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.bottom(x)
        for i in range(0, 6, 2):
            x, skip = self.up[i](x), skips.pop()
            if x.shape != skip.shape:
                x = F.interpolate(x, size=skip.shape[2:])
            x = self.up[i + 1](torch.cat((skip, x), dim=1))
        return self.final(x)


VIT = {
    "modules": {
        "ViT": {
            "parameters": ["image", "patch", "dim", "depth", "heads", "classes"],
            "init": [
                "count = (image // patch) ** 2",
                {"patches": "Conv2d(3, dim, kernel_size=patch, stride=patch)"},
                {"cls": {"parameter": "zeros(1, 1, dim)"}},
                {"positions": {"parameter": "randn(1, count + 1, dim) * 0.02"}},
                {
                    "encoder": "TransformerEncoder(TransformerEncoderLayer(dim, heads, dim * 2, dropout=0.1, "
                    "activation='gelu', batch_first=True, norm_first=True), depth, enable_nested_tensor=False)"
                },
                {"norm": "LayerNorm(dim)"},
                {"head": "Linear(dim, classes)"},
            ],
            "forward": [
                "x = self.patches(x).flatten(2).transpose(1, 2)",
                "x = torch.cat((self.cls.expand(x.shape[0], -1, -1), x), dim=1) + self.positions",
                "return self.head(self.norm(self.encoder(x)[:, 0]))",
            ],
        }
    },
    "model": "ViT(image=16, patch=4, dim=16, depth=2, heads=4, classes=5)",
}


@case(VIT, rows(3, 16, 16))
class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, kernel_size=4, stride=4)
        self.cls = nn.Parameter(torch.zeros(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 17, 16) * 0.02)
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls.expand(x.shape[0], -1, -1), x), dim=1) + self.positions
        return self.head(self.norm(self.encoder(x)[:, 0]))


MIXER = {
    "modules": {
        "mlp": {
            "parameters": ["dim", "hidden"],
            "returns": "Sequential(Linear(dim, hidden), GELU(), Linear(hidden, dim))",
        },
        "MixerBlock": {
            "parameters": ["tokens", "channels"],
            "init": [
                {"norm1": "LayerNorm(channels)"},
                {"mix": "mlp(tokens, 2 * tokens)"},
                {"norm2": "LayerNorm(channels)"},
                {"feed": "mlp(channels, 2 * channels)"},
            ],
            "forward": [
                "x = x + self.mix(self.norm1(x).transpose(1, 2)).transpose(1, 2)",
                "return x + self.feed(self.norm2(x))",
            ],
        },
    },
    "model": "Sequential(Conv2d(3, 12, 4, 4), Flatten(2), Unflatten(1, (1, 12)), Flatten(0, 1), Conv1d(12, 12, 1), "
    "MixerBlock(12, 16), MixerBlock(12, 16), Flatten(), Linear(192, 3))",
}


class MixerBlock(nn.Module):
    def __init__(self, tokens, channels):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.mix = nn.Sequential(nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens))
        self.norm2 = nn.LayerNorm(channels)
        self.feed = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, x):
        x = x + self.mix(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.feed(self.norm2(x))


@case(MIXER, rows(3, 16, 16), "MLP-Mixer")
def mixer():
    return nn.Sequential(
        nn.Conv2d(3, 12, 4, 4), nn.Flatten(2), nn.Unflatten(1, (1, 12)), nn.Flatten(0, 1), nn.Conv1d(12, 12, 1),
        MixerBlock(12, 16), MixerBlock(12, 16), nn.Flatten(), nn.Linear(192, 3),
    )  # fmt: skip


SWIN = {
    "modules": {
        "windows": {
            "arguments": ["x", "size"],
            "body": [
                "B, H, W, C = x.shape",
                "x = x.view(B, H // size, size, W // size, size, C)",
                "return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, C)",
            ],
        },
        "unwindow": {
            "arguments": ["w", "size", "H", "W"],
            "body": [
                "B = w.shape[0] // (H * W // size // size)",
                "x = w.view(B, H // size, W // size, size, size, -1)",
                "return x.permute(0, 1, 3, 2, 4, 5).reshape(B, H, W, -1)",
            ],
        },
        "WindowAttention": {
            "parameters": ["dim", "size", "heads"],
            "init": [
                {"bias_table": {"parameter": "zeros((2 * size - 1) * (2 * size - 1), heads)"}},
                "grid = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing='ij')).flatten(1)",
                "relative = (grid[:, :, None] - grid[:, None, :]).permute(1, 2, 0) + (size - 1)",
                {
                    "relative_index": {
                        "buffer": "relative[:, :, 0] * (2 * size - 1) + relative[:, :, 1]",
                        "persistent": False,
                    }
                },
                {"qkv": "Linear(dim, 3 * dim)"},
                {"proj": "Linear(dim, dim)"},
                "init.trunc_normal_(self.bias_table, std=0.02)",
            ],
            "forward": [
                "B, N, C = x.shape",
                "qkv = self.qkv(x).reshape(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)",
                "q, k, v = qkv.unbind(0)",
                "attn = (q * (C // self.heads) ** -0.5) @ k.transpose(-2, -1)",
                "bias = self.bias_table[self.relative_index.view(-1)].view(N, N, -1).permute(2, 0, 1)",
                "attn = (attn + bias.unsqueeze(0)).softmax(dim=-1)",
                "return self.proj((attn @ v).transpose(1, 2).reshape(B, N, C))",
            ],
        },
        "SwinBlock": {
            "parameters": ["dim", "heads", "size", "shift"],
            "init": [
                {"norm1": "LayerNorm(dim)"},
                {"attn": "WindowAttention(dim, size, heads)"},
                {"norm2": "LayerNorm(dim)"},
                {"mlp": "Sequential(Linear(dim, 2 * dim), GELU(), Linear(2 * dim, dim))"},
            ],
            "forward": [
                "shortcut = x",
                "x = self.norm1(x)",
                {"if": "self.shift > 0", "then": ["x = torch.roll(x, shifts=(-self.shift, -self.shift), dims=(1, 2))"]},
                "x = unwindow(self.attn(windows(x, self.size)), self.size, x.shape[1], x.shape[2])",
                {"if": "self.shift > 0", "then": ["x = torch.roll(x, shifts=(self.shift, self.shift), dims=(1, 2))"]},
                "x = shortcut + x",
                "return x + self.mlp(self.norm2(x))",
            ],
        },
        "Swin": {
            "init": [
                {"embed": "Conv2d(3, 12, 2, 2)"},
                {"blocks": "ModuleList([SwinBlock(12, 3, 4, 0 if i % 2 == 0 else 2) for i in range(2)])"},
                {"reduce": "Linear(48, 24, bias=False)"},
                {"head": "Linear(24, 4)"},
            ],
            "forward": [
                "x = self.embed(x).permute(0, 2, 3, 1)",
                {"for": "block in self.blocks", "do": ["x = block(x)"]},
                "x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)",
                "return self.head(self.reduce(x).mean((1, 2)))",
            ],
        },
    },
    "model": "Swin()",
}


class SwinBlock(nn.Module):
    def __init__(self, dim, heads, size, shift):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, size, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.size, self.shift = size, shift

    def forward(self, x):
        shortcut, size = x, self.size
        x = self.norm1(x)
        if self.shift:
            x = torch.roll(x, shifts=(-self.shift, -self.shift), dims=(1, 2))
        B, H, W, C = x.shape
        w = x.view(B, H // size, size, W // size, size, C).permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, C)
        w = self.attn(w).view(B, H // size, W // size, size, size, C)
        x = w.permute(0, 1, 3, 2, 4, 5).reshape(B, H, W, C)
        if self.shift:
            x = torch.roll(x, shifts=(self.shift, self.shift), dims=(1, 2))
        x = shortcut + x
        return x + self.mlp(self.norm2(x))


class WindowAttention(nn.Module):
    def __init__(self, dim, size, heads):
        super().__init__()
        self.heads = heads
        self.bias_table = nn.Parameter(torch.zeros((2 * size - 1) * (2 * size - 1), heads))
        grid = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")).flatten(1)
        relative = (grid[:, :, None] - grid[:, None, :]).permute(1, 2, 0) + (size - 1)
        index = relative[:, :, 0] * (2 * size - 1) + relative[:, :, 1]
        self.register_buffer("relative_index", index, persistent=False)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.bias_table, std=0.02)

    def forward(self, x):
        B, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        attn = (q * (C // self.heads) ** -0.5) @ k.transpose(-2, -1)
        attn = attn + self.bias_table[self.relative_index.view(-1)].view(N, N, -1).permute(2, 0, 1).unsqueeze(0)
        return self.proj((attn.softmax(dim=-1) @ v).transpose(1, 2).reshape(B, N, C))


@case(SWIN, rows(3, 16, 16))
class Swin(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 12, 2, 2)
        self.blocks = nn.ModuleList([SwinBlock(12, 3, 4, 0), SwinBlock(12, 3, 4, 2)])
        self.reduce = nn.Linear(48, 24, bias=False)
        self.head = nn.Linear(24, 4)

    def forward(self, x):
        x = self.embed(x).permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
        return self.head(self.reduce(x).mean((1, 2)))
