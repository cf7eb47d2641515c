"""Models as people write them in their own projects: what a named family does not happen to use."""

# ruff: noqa: E501 - statements of the language are one string each

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.conformance.case import case, rows

MAX_POOLED = {
    "modules": {
        "Layer": {
            "parameters": ["inside", "outside"],
            "init": [{"weight": {"parameter": "torch.empty(inside, outside)"}}, {"bias": {"parameter": "torch.zeros(outside)"}},
                     {"weights": [{"parameter": "weight", "init": "xavier_uniform_()"}]}],
            "forward": {"arguments": ["x", "adj"], "body": [
                "adj = adj + torch.eye(adj.size(-1), device=adj.device)",
                "deg = adj.sum(-1).clamp(min=1e-6).pow(-0.5)",
                "return torch.bmm(deg.unsqueeze(-1) * adj * deg.unsqueeze(-2), x @ self.weight) + self.bias"]},
        },
        "GraphNet": {
            "init": [{"layers": "ModuleList([Layer(4, 8), Layer(8, 2)])"}],
            "forward": {"arguments": ["x", "adj"], "body": [
                {"for": "i, layer in enumerate(self.layers)", "do": [
                    "x = layer(x, adj)", {"if": "i < len(self.layers) - 1", "then": ["x = F.relu(x)"]}]},
                "top = x.topk(2, dim=1)",
                "return x.max(dim=1).values, top.values.sum(1) + top.indices.sum(1)"]},
        },
    },
    "model": "GraphNet()",
}  # fmt: skip


class GraphLayer(nn.Module):
    def __init__(self, inside, outside):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inside, outside))
        self.bias = nn.Parameter(torch.zeros(outside))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x, adj):
        adj = adj + torch.eye(adj.size(-1), device=adj.device)
        deg = adj.sum(-1).clamp(min=1e-6).pow(-0.5)
        return torch.bmm(deg.unsqueeze(-1) * adj * deg.unsqueeze(-2), x @ self.weight) + self.bias


@case(
    MAX_POOLED, lambda batch: (torch.randn(batch, 5, 4), torch.rand(batch, 5, 5)), "graph net, fields of max and topk"
)
class GraphNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([GraphLayer(4, 8), GraphLayer(8, 2)])

    def forward(self, x, adj):
        for i, layer in enumerate(self.layers):
            x = layer(x, adj)
            if i < len(self.layers) - 1:
                x = F.relu(x)
        top = x.topk(2, dim=1)
        return x.max(dim=1).values, top.values.sum(1) + top.indices.sum(1)


MOMENTUM = {
    "modules": {
        "MomentumEncoder": {
            "parameters": [{"name": "momentum", "default": 0.9}],
            "init": [
                {"online": "Linear(6, 4)"},
                {"target": {"type": "Linear", "in_features": 6, "out_features": 4, "trainable": False}},
                {"mean": {"buffer": "torch.zeros(6)"}},
                {"steps": {"buffer": "torch.tensor(0)"}},
                {"no_grad": ["self.target.weight.copy_(self.online.weight)", "self.target.bias.copy_(self.online.bias)"]},
            ],
            "forward": [
                {"if": "self.training", "then": [{"no_grad": [
                    "self.mean.mul_(self.momentum).add_((1 - self.momentum) * x.mean(0))",
                    "self.steps += 1",
                    "self.target.weight.mul_(self.momentum).add_((1 - self.momentum) * self.online.weight)"]}]},
                "z = self.online(x - self.mean)",
                {"no_grad": ["t = self.target(x - self.mean)", {"while": "t.norm() > 100", "at_most": 10, "do": ["t = t / 2"]}]},
                "return F.cosine_similarity(z, t, dim=-1)",
            ],
        }
    },
    "model": "MomentumEncoder()",
}  # fmt: skip


@case(MOMENTUM, rows(6), "momentum encoder, no_grad")
class MomentumEncoder(nn.Module):
    def __init__(self, momentum=0.9):
        super().__init__()
        self.online = nn.Linear(6, 4)
        self.target = nn.Linear(6, 4).requires_grad_(False)
        self.register_buffer("mean", torch.zeros(6))
        self.register_buffer("steps", torch.tensor(0))
        self.momentum = momentum
        with torch.no_grad():
            self.target.weight.copy_(self.online.weight)
            self.target.bias.copy_(self.online.bias)

    @torch.no_grad()
    def project(self, x):
        t = self.target(x)
        while t.norm() > 100:
            t = t / 2
        return t

    def forward(self, x):
        if self.training:
            with torch.no_grad():
                self.mean.mul_(self.momentum).add_((1 - self.momentum) * x.mean(0))
                self.steps += 1
                self.target.weight.mul_(self.momentum).add_((1 - self.momentum) * self.online.weight)
        z = self.online(x - self.mean)
        return F.cosine_similarity(z, self.project(x - self.mean), dim=-1)


PACKED = {
    "modules": {
        "PackedLSTM": {
            "init": [{"embed": "Embedding(9, 5, padding_idx=0)"}, {"lstm": "LSTM(5, 7, batch_first=True, bidirectional=True)"}, {"head": "Linear(14, 2)"}],
            "forward": {"arguments": ["ids", "lengths"], "body": [
                "packed = nn.utils.rnn.pack_padded_sequence(self.embed(ids), lengths.cpu(), batch_first=True, enforce_sorted=False)",
                "out, (h, c) = self.lstm(packed)",
                "out, _ = nn.utils.rnn.pad_packed_sequence(out, batch_first=True)",
                "return self.head(torch.cat([h[0], h[1]], -1)), out"]},
        }
    },
    "model": "PackedLSTM()",
}  # fmt: skip


@case(
    PACKED, lambda batch: (torch.randint(1, 9, (batch, 6)), torch.arange(batch) % 6 + 1), "LSTM over packed sequences"
)
class PackedLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 5, padding_idx=0)
        self.lstm = nn.LSTM(5, 7, batch_first=True, bidirectional=True)
        self.head = nn.Linear(14, 2)

    def forward(self, ids, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embed(ids), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        out, (h, _) = self.lstm(packed)
        out, _ = nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
        return self.head(torch.cat([h[0], h[1]], -1)), out


SEQ2SEQ = {
    "modules": {
        "CrossTransformer": {
            "init": [{"t": "Transformer(4, 2, num_encoder_layers=1, num_decoder_layers=1, dim_feedforward=8, batch_first=True)"}],
            "forward": {"arguments": ["source", "target"], "body": [
                "mask = nn.Transformer.generate_square_subsequent_mask(target.size(1))",
                "return self.t(source, target, tgt_mask=mask)"]},
        }
    },
    "model": "CrossTransformer()",
}  # fmt: skip


@case(SEQ2SEQ, lambda batch: (torch.randn(batch, 9, 4), torch.randn(batch, 5, 4)), "Transformer with a causal mask")
class CrossTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.t = nn.Transformer(4, 2, num_encoder_layers=1, num_decoder_layers=1, dim_feedforward=8, batch_first=True)

    def forward(self, source, target):
        mask = nn.Transformer.generate_square_subsequent_mask(target.size(1))
        return self.t(source, target, tgt_mask=mask)
