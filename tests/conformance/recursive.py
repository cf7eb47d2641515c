"""Definitions that refer to themselves: modules, macros, functions and methods, each with its bound."""

# ruff: noqa: E501 - statements of the language are one string each

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.conformance.case import case, rows

UNET = {
    "modules": {
        "UNet": {
            "parameters": ["depth", "width"],
            "init": [
                {"down": "Conv2d(width, 2 * width, 3, stride=2, padding=1)"},
                {"if": "depth > 1", "then": [{"inner": "UNet(depth - 1, 2 * width)"}], "else": [{"inner": "Conv2d(2 * width, 2 * width, 1)"}]},
                {"up": "ConvTranspose2d(2 * width, width, 2, stride=2)"},
            ],
            "forward": ["y = self.inner(F.relu(self.down(x)))", "return x + self.up(F.relu(y))"],
        },
        "Net": {
            "init": [{"stem": "Conv2d(1, 4, 1)"}, {"unet": "UNet(3, 4)"}, {"head": "Conv2d(4, 2, 1)"}],
            "forward": ["return self.head(self.unet(self.stem(x)))"],
        },
    },
    "model": "Net()",
}  # fmt: skip


class UNet(nn.Module):
    def __init__(self, depth, width):
        super().__init__()
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.inner = UNet(depth - 1, 2 * width) if depth > 1 else nn.Conv2d(2 * width, 2 * width, 1)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)

    def forward(self, x):
        y = self.inner(F.relu(self.down(x)))
        return x + self.up(F.relu(y))


@case(UNET, rows(1, 8, 8), "recursive U-Net")
class UNetModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 1)
        self.unet = UNet(3, 4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.head(self.unet(self.stem(x)))


TREE = {
    "modules": {
        "Tree": {
            "parameters": ["depth", "width"],
            "init": [
                {"split": "Linear(width, 1)"},
                {"if": "depth > 0", "then": [{"left": "Tree(depth - 1, width)"}, {"right": "Tree(depth - 1, width)"}], "else": [{"leaf": "Linear(width, 3)"}]},
            ],
            "forward": [
                {"if": "self.depth == 0", "then": ["return self.leaf(x)"]},
                "share = torch.sigmoid(self.split(x))",
                "return share * self.left(x) + (1 - share) * self.right(x)",
            ],
        }
    },
    "model": "Tree(3, 6)",
}  # fmt: skip


@case(TREE, rows(6), "soft decision tree")
def soft_tree():
    return Tree(3, 6)


class Tree(nn.Module):
    def __init__(self, depth, width):
        super().__init__()
        self.depth = depth
        self.split = nn.Linear(width, 1)
        if depth > 0:
            self.left = Tree(depth - 1, width)
            self.right = Tree(depth - 1, width)
        else:
            self.leaf = nn.Linear(width, 3)

    def forward(self, x):
        if self.depth == 0:
            return self.leaf(x)
        share = torch.sigmoid(self.split(x))
        return share * self.left(x) + (1 - share) * self.right(x)


FUNNEL = {
    "modules": {
        "funnel": {
            "parameters": ["sizes"],
            "returns": "Linear(sizes[0], sizes[1]) if len(sizes) == 2 else Sequential(Linear(sizes[0], sizes[1]), ReLU(), funnel(sizes[1:]))",
        }
    },
    "model": "funnel([12, 9, 6, 3])",
}  # fmt: skip


@case(FUNNEL, rows(12), "recursive macro")
def funnel():
    def made(sizes):
        if len(sizes) == 2:
            return nn.Linear(*sizes)
        return nn.Sequential(nn.Linear(sizes[0], sizes[1]), nn.ReLU(), made(sizes[1:]))

    return made([12, 9, 6, 3])


MERGE = {
    "modules": {
        "merged": {
            "arguments": ["parts"],
            "at_most": 8,
            "body": [
                {"if": "len(parts) == 1", "then": ["return parts[0]"]},
                "half = len(parts) // 2",
                "return torch.tanh(merged(parts[:half]) + merged(parts[half:]))",
            ],
        },
        "Net": {
            "init": [{"inside": "Linear(5, 4)"}, {"again": "Linear(4, 4)"}],
            "forward": [
                "y = self.inside(x)",
                "return self.refined(merged([y[:, i] for i in range(4)]).unsqueeze(1) + y, 3)",
            ],
            "methods": {
                "refined": {
                    "arguments": ["y", "times"],
                    "at_most": 10,
                    "body": [{"if": "times == 0 or bool(y.norm() < 0.1)", "then": ["return y"]}, "return self.refined(F.relu(self.again(y)), times - 1)"],
                }
            },
        },
    },
    "model": "Net()",
}  # fmt: skip


def merged(parts):
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return torch.tanh(merged(parts[:half]) + merged(parts[half:]))


@case(MERGE, rows(5), "recursive function and method")
class Merge(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside = nn.Linear(5, 4)
        self.again = nn.Linear(4, 4)

    def forward(self, x):
        y = self.inside(x)
        return self.refined(merged([y[:, i] for i in range(4)]).unsqueeze(1) + y, 3)

    def refined(self, y, times):
        if times == 0 or bool(y.norm() < 0.1):
            return y
        return self.refined(F.relu(self.again(y)), times - 1)
