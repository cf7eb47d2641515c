"""Tables, graphs, point clouds, pairs, early exits, experts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.conformance.case import case, rows

TABULAR = {
    "modules": {
        "Tabular": {
            "parameters": ["cardinalities", "numbers"],
            "init": [
                {"embeds": "ModuleList([Embedding(c, min(50, (c + 1) // 2)) for c in cardinalities])"},
                "width = sum([min(50, (c + 1) // 2) for c in cardinalities]) + numbers",
                {"bn": "BatchNorm1d(numbers)"},
                {"layers": "Sequential(Linear(width, 16), ReLU(), BatchNorm1d(16), Dropout(0.1), Linear(16, 1))"},
            ],
            "forward": {
                "arguments": ["categories", "numbers"],
                "body": [
                    "parts = [embed(categories[:, i]) for i, embed in enumerate(self.embeds)]",
                    "x = torch.cat(parts + [self.bn(numbers)], 1)",
                    "return self.layers(x).squeeze(1)",
                ],
            },
        }
    },
    "model": "Tabular((5, 9, 12), 4)",
}


def table(batch):
    return torch.stack([torch.randint(0, c, (batch,)) for c in (5, 9, 12)], 1), torch.randn(batch, 4)


@case(TABULAR, table, "tabular MLP with embeddings")
class Tabular(nn.Module):
    def __init__(self):
        super().__init__()
        self.embeds = nn.ModuleList([nn.Embedding(c, min(50, (c + 1) // 2)) for c in (5, 9, 12)])
        self.bn = nn.BatchNorm1d(4)
        self.layers = nn.Sequential(nn.Linear(18, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Dropout(0.1), nn.Linear(16, 1))

    def forward(self, categories, numbers):
        parts = [embed(categories[:, i]) for i, embed in enumerate(self.embeds)]
        return self.layers(torch.cat([*parts, self.bn(numbers)], 1)).squeeze(1)


DEEPFM = {
    "modules": {
        "DeepFM": {
            "parameters": ["fields", "vocabulary", "dim"],
            "init": [
                {"linear": "Embedding(vocabulary, 1)"},
                {"embed": "Embedding(vocabulary, dim)"},
                {"bias": {"parameter": "zeros(1)"}},
                {"mlp": "Sequential(Linear(fields * dim, 8), ReLU(), Linear(8, 1))"},
            ],
            "forward": [
                "e = self.embed(x)",
                "fm = 0.5 * (e.sum(1) ** 2 - (e ** 2).sum(1)).sum(1, keepdim=True)",
                "return torch.sigmoid(self.linear(x).sum(1) + self.bias + fm + self.mlp(e.flatten(1)))",
            ],
        }
    },
    "model": "DeepFM(4, 30, 5)",
}


@case(DEEPFM, lambda batch: (torch.randint(0, 30, (batch, 4)),))
class DeepFM(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Embedding(30, 1)
        self.embed = nn.Embedding(30, 5)
        self.bias = nn.Parameter(torch.zeros(1))
        self.mlp = nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, x):
        e = self.embed(x)
        fm = 0.5 * (e.sum(1) ** 2 - (e**2).sum(1)).sum(1, keepdim=True)
        return torch.sigmoid(self.linear(x).sum(1) + self.bias + fm + self.mlp(e.flatten(1)))


SIAMESE = {
    "modules": {
        "Siamese": {
            "init": [
                {"tower": "Sequential(Conv2d(1, 4, 3), ReLU(), MaxPool2d(2), Flatten(), Linear(36, 8))"},
                {"scale": {"parameter": "ones(1)"}},
                {"offset": {"parameter": "zeros(1)", "trainable": False}},
            ],
            "forward": {
                "arguments": ["left", "right"],
                "body": [
                    "a, b = self.tower(left), self.tower(right)",
                    "return self.scale * F.pairwise_distance(a, b) + self.offset",
                ],
            },
        }
    },
    "model": "Siamese()",
}


@case(SIAMESE, lambda batch: (torch.randn(batch, 1, 8, 8), torch.randn(batch, 1, 8, 8)))
class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 8))
        self.scale = nn.Parameter(torch.ones(1))
        self.offset = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, left, right):
        return self.scale * F.pairwise_distance(self.tower(left), self.tower(right)) + self.offset


GCN = {
    "modules": {
        "GraphConv": {
            "parameters": ["inside", "outside"],
            "init": [{"weight": {"parameter": "empty(inside, outside)"}}, "init.xavier_uniform_(self.weight)"],
            "forward": {
                "arguments": ["x", "adj"],
                "body": [
                    "adj = adj + torch.eye(adj.shape[-1], device=adj.device)",
                    "d = adj.sum(-1).pow(-0.5)",
                    "norm = d[..., :, None] * adj * d[..., None, :]",
                    "return norm @ x @ self.weight",
                ],
            },
        },
        "GCN": {
            "init": [{"first": "GraphConv(6, 8)"}, {"second": "GraphConv(8, 3)"}],
            "forward": {
                "arguments": ["x", "adj"],
                "body": [
                    "x = F.relu(self.first(x, adj))",
                    "x = F.dropout(x, 0.5, training=self.training)",
                    "return F.log_softmax(self.second(x, adj), dim=-1)",
                ],
            },
        },
    },
    "model": "GCN()",
}


def graph(batch):
    adjacency = (torch.rand(batch, 7, 7) > 0.5).float()
    return torch.randn(batch, 7, 6), ((adjacency + adjacency.transpose(1, 2)) > 0).float()


class GraphConv(nn.Module):
    def __init__(self, inside, outside):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inside, outside))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x, adj):
        adj = adj + torch.eye(adj.shape[-1])
        d = adj.sum(-1).pow(-0.5)
        return d[..., :, None] * adj * d[..., None, :] @ x @ self.weight


@case(GCN, graph, "GCN on dense adjacency")
class GCNModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = GraphConv(6, 8), GraphConv(8, 3)

    def forward(self, x, adj):
        x = F.dropout(F.relu(self.first(x, adj)), 0.5, training=self.training)
        return F.log_softmax(self.second(x, adj), dim=-1)


GAT = {
    "modules": {
        "GATLayer": {
            "parameters": ["inside", "outside", "heads"],
            "init": [
                {"lin": "Linear(inside, heads * outside, bias=False)"},
                {"source": {"parameter": "randn(heads, outside)"}},
                {"target": {"parameter": "randn(heads, outside)"}},
            ],
            "forward": {
                "arguments": ["x", "adj"],
                "body": [
                    "h = self.lin(x).view(*x.shape[:2], self.heads, -1)",
                    "a = (h * self.source).sum(-1)",
                    "b = (h * self.target).sum(-1)",
                    "e = F.leaky_relu(a.unsqueeze(2) + b.unsqueeze(1), 0.2)",
                    "e = e.masked_fill(adj.unsqueeze(-1) == 0, -1e9)",
                    "return torch.einsum('bijh,bjhf->bihf', e.softmax(2), h).flatten(2)",
                ],
            },
        },
        "GAT": {
            "init": [{"first": "GATLayer(6, 4, heads=2)"}, {"second": "GATLayer(8, 3, heads=1)"}],
            "forward": {"arguments": ["x", "adj"], "body": ["return self.second(F.elu(self.first(x, adj)), adj)"]},
        },
    },
    "model": "GAT()",
}


class GATLayer(nn.Module):
    def __init__(self, inside, outside, heads):
        super().__init__()
        self.lin = nn.Linear(inside, heads * outside, bias=False)
        self.source = nn.Parameter(torch.randn(heads, outside))
        self.target = nn.Parameter(torch.randn(heads, outside))
        self.heads = heads

    def forward(self, x, adj):
        h = self.lin(x).view(*x.shape[:2], self.heads, -1)
        a, b = (h * self.source).sum(-1), (h * self.target).sum(-1)
        e = F.leaky_relu(a.unsqueeze(2) + b.unsqueeze(1), 0.2).masked_fill(adj.unsqueeze(-1) == 0, -1e9)
        return torch.einsum("bijh,bjhf->bihf", e.softmax(2), h).flatten(2)


@case(GAT, graph, "GAT on dense adjacency")
class GATModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = GATLayer(6, 4, 2), GATLayer(8, 3, 1)

    def forward(self, x, adj):
        return self.second(F.elu(self.first(x, adj)), adj)


POINTNET = {
    "modules": {
        "TNet": {
            "parameters": ["k"],
            "init": [
                {"conv": "Sequential(Conv1d(k, 8, 1), BatchNorm1d(8), ReLU())"},
                {"fc": "Linear(8, k * k)"},
            ],
            "forward": [
                "m = self.fc(self.conv(x).max(2)[0]).view(-1, self.k, self.k)",
                "return m + torch.eye(self.k, device=x.device)",
            ],
        },
        "PointNet": {
            "init": [
                {"tnet": "TNet(3)"},
                {"conv": "Sequential(Conv1d(3, 8, 1), BatchNorm1d(8), ReLU(), Conv1d(8, 16, 1))"},
                {"head": "Linear(16, 4)"},
            ],
            "forward": [
                "t = self.tnet(x)",
                "x = torch.bmm(x.transpose(2, 1), t).transpose(2, 1)",
                "values, where = torch.max(self.conv(x), 2)",
                "return self.head(values), t",
            ],
        },
    },
    "model": "PointNet()",
}


class TNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(3, 8, 1), nn.BatchNorm1d(8), nn.ReLU())
        self.fc = nn.Linear(8, 9)

    def forward(self, x):
        return self.fc(self.conv(x).max(2)[0]).view(-1, 3, 3) + torch.eye(3)


@case(POINTNET, rows(3, 12))
class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.tnet = TNet()
        self.conv = nn.Sequential(nn.Conv1d(3, 8, 1), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 16, 1))
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        t = self.tnet(x)
        x = torch.bmm(x.transpose(2, 1), t).transpose(2, 1)
        return self.head(torch.max(self.conv(x), 2)[0]), t


EARLY = {
    "modules": {
        "EarlyExit": {
            "parameters": ["depth", "threshold"],
            "init": [
                {"for": "i in range(depth)", "do": [{"block{i}": "Linear(10, 10)"}, {"exit{i}": "Linear(10, 3)"}]}
            ],
            "forward": [
                "logits = None",
                {
                    "for": "i in range(self.depth)",
                    "do": [
                        "x = F.relu(self['block' + str(i)](x))",
                        "logits = self['exit' + str(i)](x)",
                        "confident = logits.softmax(-1).amax(-1).mean() > self.threshold",
                        {"if": "confident and not self.training", "then": ["return logits"]},
                    ],
                },
                "return logits",
            ],
        }
    },
    "model": "EarlyExit(3, 0.45)",
}


@case(EARLY, rows(10), "early exit")
class EarlyExit(nn.Module):
    def __init__(self):
        super().__init__()
        for i in range(3):
            setattr(self, f"block{i}", nn.Linear(10, 10))
            setattr(self, f"exit{i}", nn.Linear(10, 3))

    def forward(self, x):
        for i in range(3):
            x = F.relu(getattr(self, f"block{i}")(x))
            logits = getattr(self, f"exit{i}")(x)
            if logits.softmax(-1).amax(-1).mean() > 0.45 and not self.training:
                return logits
        return logits


EXPERTS = {
    "modules": {
        "Experts": {
            "parameters": ["count", "top"],
            "init": [
                {"gate": "Linear(8, count)"},
                {"experts": "ModuleList([Sequential(Linear(8, 16), GELU(), Linear(16, 8)) for i in range(count)])"},
            ],
            "forward": [
                "scores = self.gate(x).softmax(-1)",
                "values, chosen = scores.topk(self.top, dim=-1)",
                "out = torch.zeros_like(x)",
                {
                    "for": "i, expert in enumerate(self.experts)",
                    "do": [
                        "weight = (values * (chosen == i)).sum(-1, keepdim=True)",
                        "out = out + weight * expert(x)",
                    ],
                },
                "return out",
            ],
        }
    },
    "model": "Experts(3, 2)",
}


@case(EXPERTS, rows(8), "mixture of experts")
class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(8, 3)
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)) for _ in range(3)])

    def forward(self, x):
        values, chosen = self.gate(x).softmax(-1).topk(2, dim=-1)
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            out = out + (values * (chosen == i)).sum(-1, keepdim=True) * expert(x)
        return out


HIGHWAY = {
    "modules": {
        "Highway": {
            "parameters": ["dim", {"name": "bias", "default": -1.0}],
            "init": [
                {"transform": "Linear(dim, dim)"},
                {"gate": "Linear(dim, dim)"},
                {"weights": [{"name": "gate", "parameter": "bias", "init": "constant_(-1.0)"}]},
            ],
            "forward": ["g = torch.sigmoid(self.gate(x))", "return g * F.relu(self.transform(x)) + (1 - g) * x"],
        },
        "Shared": {
            "init": [{"layer": "Highway(6)"}, {"again": "self.layer"}],
            "forward": ["return self.again(self.layer(x))"],
        },
    },
    "model": "Sequential(Highway(6), Shared(), Linear(6, 2, bias=False))",
}


class Highway(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.transform = nn.Linear(dim, dim)
        self.gate = nn.Linear(dim, dim)
        nn.init.constant_(self.gate.bias, -1.0)

    def forward(self, x):
        g = torch.sigmoid(self.gate(x))
        return g * F.relu(self.transform(x)) + (1 - g) * x


@case(HIGHWAY, rows(6), "Highway, one layer under two names")
def highway():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = Highway(6)
            self.again = self.layer

        def forward(self, x):
            return self.again(self.layer(x))

    return nn.Sequential(Highway(6), Shared(), nn.Linear(6, 2, bias=False))
