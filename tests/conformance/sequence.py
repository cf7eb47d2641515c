"""Recurrent models, transformers, convolutions in time."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from tests.conformance.case import case, rows, tokens

LSTM = {
    "modules": {
        "Classifier": {
            "parameters": ["kind"],
            "init": [
                {"embed": "Embedding(50, 8, padding_idx=0)"},
                {
                    "rnn": "LSTM(8, 6, num_layers=2, batch_first=True, bidirectional=True, dropout=0.2) "
                    "if kind == 'lstm' else GRU(8, 6, batch_first=True, bidirectional=True)"
                },
                {"head": "Linear(12, 3)"},
            ],
            "forward": ["out, state = self.rnn(self.embed(x))", "return self.head(out[:, -1])"],
        }
    },
    "model": "Classifier('lstm')",
}


class RecurrentClassifier(nn.Module):
    def __init__(self, rnn):
        super().__init__()
        self.embed = nn.Embedding(50, 8, padding_idx=0)
        self.rnn = rnn()
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        out, _ = self.rnn(self.embed(x))
        return self.head(out[:, -1])


@case(LSTM, tokens(7, 50), "LSTM classifier")
def lstm():
    return RecurrentClassifier(lambda: nn.LSTM(8, 6, 2, batch_first=True, bidirectional=True, dropout=0.2))


@case({**LSTM, "model": "Classifier('gru')"}, tokens(7, 50), "GRU classifier")
def gru():
    return RecurrentClassifier(lambda: nn.GRU(8, 6, batch_first=True, bidirectional=True))


OWN_RNN = {
    "modules": {
        "OwnRNN": {
            "parameters": ["inputs", "hidden"],
            "init": [
                {"W_xh": {"parameter": "randn(inputs, hidden) * 0.01"}},
                {"W_hh": {"parameter": "randn(hidden, hidden) * 0.01"}},
                {"b_h": {"parameter": "zeros(hidden)"}},
                {"out": "Linear(hidden, 2)"},
            ],
            "forward": {
                "arguments": ["x", {"name": "state", "default": None}],
                "body": [
                    {
                        "if": "state is None",
                        "then": ["state = torch.zeros(x.shape[0], self.hidden, device=x.device, dtype=x.dtype)"],
                    },
                    "outputs = []",
                    {
                        "for": "t in range(x.shape[1])",
                        "do": [
                            "state = torch.tanh(x[:, t] @ self.W_xh + state @ self.W_hh + self.b_h)",
                            "outputs.append(self.out(state))",
                        ],
                    },
                    "return torch.stack(outputs, 1), state",
                ],
            },
        }
    },
    "model": "OwnRNN(5, 6)",
}


@case(OWN_RNN, rows(4, 5))
class OwnRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.W_xh = nn.Parameter(torch.randn(5, 6) * 0.01)
        self.W_hh = nn.Parameter(torch.randn(6, 6) * 0.01)
        self.b_h = nn.Parameter(torch.zeros(6))
        self.out = nn.Linear(6, 2)

    def forward(self, x, state=None):
        if state is None:
            state = torch.zeros(x.shape[0], 6, device=x.device, dtype=x.dtype)
        outputs = []
        for t in range(x.shape[1]):
            state = torch.tanh(x[:, t] @ self.W_xh + state @ self.W_hh + self.b_h)
            outputs.append(self.out(state))
        return torch.stack(outputs, 1), state


SEQ2SEQ = {
    "modules": {
        "Attention": {
            "parameters": ["hidden"],
            "init": [
                {"W_q": "Linear(hidden, hidden, bias=False)"},
                {"W_k": "Linear(hidden, hidden, bias=False)"},
                {"w_v": "Linear(hidden, 1, bias=False)"},
            ],
            "forward": {
                "arguments": ["query", "keys"],
                "body": [
                    "scores = self.w_v(torch.tanh(self.W_q(query).unsqueeze(1) + self.W_k(keys))).squeeze(-1)",
                    "weights = F.softmax(scores, dim=-1)",
                    "return torch.bmm(weights.unsqueeze(1), keys).squeeze(1), weights",
                ],
            },
        },
        "Seq2Seq": {
            "init": [
                {"source": "Embedding(20, 6)"},
                {"target": "Embedding(15, 6)"},
                {"encoder": "GRU(6, 8, batch_first=True)"},
                {"attention": "Attention(8)"},
                {"cell": "GRUCell(14, 8)"},
                {"out": "Linear(8, 15)"},
            ],
            "forward": {
                "arguments": ["source", "target"],
                "body": [
                    "keys, state = self.encoder(self.source(source))",
                    "state = state[0]",
                    "inputs = self.target(target)",
                    "outputs, maps = [], []",
                    {
                        "for": "t in range(target.shape[1])",
                        "do": [
                            "context, weights = self.attention(state, keys)",
                            "state = self.cell(torch.cat((inputs[:, t], context), dim=-1), state)",
                            "outputs.append(self.out(state))",
                            "maps.append(weights)",
                        ],
                    },
                    "return {'logits': torch.stack(outputs, dim=1), 'attention': torch.stack(maps, dim=1)}",
                ],
            },
        },
    },
    "model": "Seq2Seq()",
}


class AdditiveAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.W_q = nn.Linear(8, 8, bias=False)
        self.W_k = nn.Linear(8, 8, bias=False)
        self.w_v = nn.Linear(8, 1, bias=False)

    def forward(self, query, keys):
        scores = self.w_v(torch.tanh(self.W_q(query).unsqueeze(1) + self.W_k(keys))).squeeze(-1)
        weights = F.softmax(scores, dim=-1)
        return torch.bmm(weights.unsqueeze(1), keys).squeeze(1), weights


@case(SEQ2SEQ, lambda batch: (torch.randint(0, 20, (batch, 5)), torch.randint(0, 15, (batch, 4))))
class Seq2SeqWithAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.source = nn.Embedding(20, 6)
        self.target = nn.Embedding(15, 6)
        self.encoder = nn.GRU(6, 8, batch_first=True)
        self.attention = AdditiveAttention()
        self.cell = nn.GRUCell(14, 8)
        self.out = nn.Linear(8, 15)

    def forward(self, source, target):
        keys, state = self.encoder(self.source(source))
        state = state[0]
        inputs = self.target(target)
        outputs, maps = [], []
        for t in range(target.shape[1]):
            context, weights = self.attention(state, keys)
            state = self.cell(torch.cat((inputs[:, t], context), dim=-1), state)
            outputs.append(self.out(state))
            maps.append(weights)
        return {"logits": torch.stack(outputs, dim=1), "attention": torch.stack(maps, dim=1)}


GPT = {
    "modules": {
        "CausalSelfAttention": {
            "parameters": ["dim", "heads", "length", "rate"],
            "init": [
                "assert dim % heads == 0",
                {"c_attn": "Linear(dim, 3 * dim)"},
                {"c_proj": "Linear(dim, dim)"},
                {"mask": {"buffer": "tril(ones(length, length)).view(1, 1, length, length)", "persistent": False}},
            ],
            "forward": [
                "B, T, C = x.size()",
                "q, k, v = self.c_attn(x).split(C, dim=2)",
                "q = q.view(B, T, self.heads, C // self.heads).transpose(1, 2)",
                "k = k.view(B, T, self.heads, C // self.heads).transpose(1, 2)",
                "v = v.view(B, T, self.heads, C // self.heads).transpose(1, 2)",
                "att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))",
                "att = att.masked_fill(self.mask[:, :, :T, :T] == 0, -math.inf)",
                "att = F.dropout(F.softmax(att, dim=-1), self.rate, self.training)",
                "y = (att @ v).transpose(1, 2).contiguous().view(B, T, C)",
                "return self.c_proj(y)",
            ],
        },
        "Block": {
            "parameters": ["dim", "heads", "length", "rate"],
            "init": [
                {"ln_1": "LayerNorm(dim)"},
                {"attn": "CausalSelfAttention(dim, heads, length, rate)"},
                {"ln_2": "LayerNorm(dim)"},
                {
                    "mlp": {
                        "type": "ModuleDict",
                        "layers": [
                            {"c_fc": "Linear(dim, 4 * dim)"},
                            {"c_proj": "Linear(4 * dim, dim)"},
                            {"drop": "Dropout(rate)"},
                        ],
                    }
                },
            ],
            "forward": [
                "x = x + self.attn(self.ln_1(x))",
                "m = self.mlp",
                "return x + m['drop'](m['c_proj'](F.gelu(m['c_fc'](self.ln_2(x)), approximate='tanh')))",
            ],
        },
        "GPT": {
            "parameters": ["vocabulary", "length", "dim", "heads", "depth", {"name": "rate", "default": 0.1}],
            "init": [
                {
                    "transformer": {
                        "type": "ModuleDict",
                        "layers": [
                            {"wte": "Embedding(vocabulary, dim)"},
                            {"wpe": "Embedding(length, dim)"},
                            {"drop": "Dropout(rate)"},
                            {"h": "ModuleList([Block(dim, heads, length, rate) for _ in range(depth)])"},
                            {"ln_f": "LayerNorm(dim)"},
                        ],
                    }
                },
                {"lm_head": "Linear(dim, vocabulary, bias=False)"},
                {"tie": ["lm_head.weight", "transformer.wte.weight"]},
                {
                    "weights": [
                        {"type": ["Linear", "Embedding"], "init": "normal_(mean=0.0, std=0.02)"},
                        {"type": "Linear", "parameter": "bias", "init": "zeros_()"},
                        {"parameter": "c_proj.weight", "init": "normal_(mean=0.0, std=0.01)"},
                    ]
                },
            ],
            "forward": {
                "arguments": ["idx", {"name": "targets", "default": None}],
                "body": [
                    "t = idx.size(1)",
                    "assert t <= self.length, 'the sequence is too long'",
                    "pos = torch.arange(0, t, dtype=torch.long, device=idx.device)",
                    "x = self.transformer['drop'](self.transformer['wte'](idx) + self.transformer['wpe'](pos))",
                    {"for": "block in self.transformer['h']", "do": ["x = block(x)"]},
                    "logits = self.lm_head(self.transformer['ln_f'](x))",
                    {
                        "if": "targets is None",
                        "then": ["loss = None"],
                        "else": ["loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))"],
                    },
                    "return logits, loss",
                ],
            },
        },
    },
    "model": "GPT(vocabulary=40, length=12, dim=16, heads=4, depth=2)",
}


class CausalSelfAttention(nn.Module):
    def __init__(self, dim, heads, length, rate):
        super().__init__()
        self.c_attn = nn.Linear(dim, 3 * dim)
        self.c_proj = nn.Linear(dim, dim)
        mask = torch.tril(torch.ones(length, length)).view(1, 1, length, length)
        self.register_buffer("mask", mask, persistent=False)
        self.heads, self.rate = heads, rate

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(C, dim=2)
        q, k, v = (a.view(B, T, self.heads, C // self.heads).transpose(1, 2) for a in (q, k, v))
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.mask[:, :, :T, :T] == 0, float("-inf"))
        att = F.dropout(F.softmax(att, dim=-1), self.rate, self.training)
        return self.c_proj((att @ v).transpose(1, 2).contiguous().view(B, T, C))


class GPTBlock(nn.Module):
    def __init__(self, dim, heads, length, rate):
        super().__init__()
        self.ln_1 = nn.LayerNorm(dim)
        self.attn = CausalSelfAttention(dim, heads, length, rate)
        self.ln_2 = nn.LayerNorm(dim)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(dim, 4 * dim), "c_proj": nn.Linear(4 * dim, dim), "drop": nn.Dropout(rate)}
        )

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        m = self.mlp
        return x + m.drop(m.c_proj(F.gelu(m.c_fc(self.ln_2(x)), approximate="tanh")))


def both_tokens(batch):
    return torch.randint(0, 40, (batch, 8)), torch.randint(0, 40, (batch, 8))


@case(GPT, both_tokens)
class GPTModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(40, 16),
                "wpe": nn.Embedding(12, 16),
                "drop": nn.Dropout(0.1),
                "h": nn.ModuleList([GPTBlock(16, 4, 12, 0.1) for _ in range(2)]),
                "ln_f": nn.LayerNorm(16),
            }
        )
        self.lm_head = nn.Linear(16, 40, bias=False)
        self.transformer.wte.weight = self.lm_head.weight
        self.apply(self._weights)
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, mean=0.0, std=0.01)

    def _weights(self, module):
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, mean=0.0, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, idx, targets=None):
        t = idx.size(1)
        x = self.transformer.wte(idx) + self.transformer.wpe(torch.arange(0, t))
        x = self.transformer.drop(x)
        for block in self.transformer.h:
            x = block(x)
        logits = self.lm_head(self.transformer.ln_f(x))
        loss = None if targets is None else F.cross_entropy(logits.view(-1, 40), targets.view(-1))
        return logits, loss


BERT = {
    "modules": {
        "Embeddings": {
            "parameters": ["vocabulary", "dim"],
            "init": [
                {"word": "Embedding(vocabulary, dim, padding_idx=0)"},
                {"position": "Embedding(16, dim)"},
                {"segment": "Embedding(2, dim)"},
                {"norm": "LayerNorm(dim, eps=1e-12)"},
                {"drop": "Dropout(0.1)"},
                {"position_ids": {"buffer": "arange(16).expand((1, -1))", "persistent": False}},
            ],
            "forward": {
                "arguments": ["ids", "segments"],
                "body": [
                    "x = self.word(ids) + self.segment(segments)",
                    "x += self.position(self.position_ids[:, :ids.size(1)])",
                    "return self.drop(self.norm(x))",
                ],
            },
        },
        "Layer": {
            "parameters": ["dim", "heads"],
            "init": [
                {"attention": "MultiheadAttention(dim, heads, dropout=0.1, batch_first=True)"},
                {"norm1": "LayerNorm(dim)"},
                {"feed": "Sequential(Linear(dim, 2 * dim), GELU(), Linear(2 * dim, dim), Dropout(0.1))"},
                {"norm2": "LayerNorm(dim)"},
            ],
            "forward": {
                "arguments": ["x", {"name": "mask", "default": None}],
                "body": [
                    "y, _ = self.attention(x, x, x, key_padding_mask=mask, need_weights=False)",
                    "x = self.norm1(x + y)",
                    "return self.norm2(x + self.feed(x))",
                ],
            },
        },
        "BERT": {
            "init": [
                {"embeddings": "Embeddings(30, 16)"},
                {"layers": "ModuleList(Layer(16, 4) for i in range(2))"},
                {"pooler": "Linear(16, 16)"},
                {"head": "Linear(16, 30)"},
                {"head_bias": {"parameter": "zeros(30)"}},
            ],
            "forward": {
                "arguments": ["ids", "segments"],
                "body": [
                    "mask = ids == 0",
                    "x = self.embeddings(ids, segments)",
                    {"for": "layer in self.layers", "do": ["x = layer(x, mask)"]},
                    "pooled = torch.tanh(self.pooler(x[:, 0]))",
                    "return self.head(x) + self.head_bias, pooled",
                ],
            },
        },
    },
    "model": "BERT()",
}


class BertEmbeddings(nn.Module):
    def __init__(self):
        super().__init__()
        self.word = nn.Embedding(30, 16, padding_idx=0)
        self.position = nn.Embedding(16, 16)
        self.segment = nn.Embedding(2, 16)
        self.norm = nn.LayerNorm(16, eps=1e-12)
        self.drop = nn.Dropout(0.1)
        self.register_buffer("position_ids", torch.arange(16).expand((1, -1)), persistent=False)

    def forward(self, ids, segments):
        x = self.word(ids) + self.segment(segments)
        x += self.position(self.position_ids[:, : ids.size(1)])
        return self.drop(self.norm(x))


class BertLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, dropout=0.1, batch_first=True)
        self.norm1 = nn.LayerNorm(16)
        self.feed = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16), nn.Dropout(0.1))
        self.norm2 = nn.LayerNorm(16)

    def forward(self, x, mask=None):
        x = self.norm1(x + self.attention(x, x, x, key_padding_mask=mask, need_weights=False)[0])
        return self.norm2(x + self.feed(x))


def ids_and_segments(batch):
    return torch.randint(1, 30, (batch, 9)), torch.randint(0, 2, (batch, 9))


@case(BERT, ids_and_segments)
class Bert(nn.Module):
    def __init__(self):
        super().__init__()
        self.embeddings = BertEmbeddings()
        self.layers = nn.ModuleList(BertLayer() for _ in range(2))
        self.pooler = nn.Linear(16, 16)
        self.head = nn.Linear(16, 30)
        self.head_bias = nn.Parameter(torch.zeros(30))

    def forward(self, ids, segments):
        mask = ids == 0
        x = self.embeddings(ids, segments)
        for layer in self.layers:
            x = layer(x, mask)
        return self.head(x) + self.head_bias, torch.tanh(self.pooler(x[:, 0]))


TRANSFORMER = {
    "modules": {
        "Positional": {
            "parameters": ["dim", "length"],
            "init": [
                "pe = zeros(length, dim)",
                "position = arange(0, length, dtype=torch.float).unsqueeze(1)",
                "div = exp(arange(0, dim, 2).float() * (-math.log(10000.0) / dim))",
                "pe[:, 0::2] = sin(position * div)",
                "pe[:, 1::2] = cos(position * div)",
                {"pe": {"buffer": "pe.unsqueeze(0)"}},
                {"dropout": "Dropout(p=0.1)"},
            ],
            "forward": ["return self.dropout(x + self.pe[:, :x.size(1)])"],
        },
        "Translator": {
            "init": [
                {"source": "Embedding(20, 16)"},
                {"target": "Embedding(18, 16)"},
                {"position": "Positional(16, 30)"},
                {
                    "core": "Transformer(d_model=16, nhead=4, num_encoder_layers=1, num_decoder_layers=1, "
                    "dim_feedforward=32, batch_first=True)"
                },
                {"out": "Linear(16, 18)"},
            ],
            "forward": {
                "arguments": ["source", "target"],
                "body": [
                    "n = target.shape[1]",
                    "mask = torch.triu(torch.full((n, n), -math.inf, device=target.device), diagonal=1)",
                    "x = self.position(self.source(source) * math.sqrt(16))",
                    "y = self.position(self.target(target) * math.sqrt(16))",
                    "return self.out(self.core(x, y, tgt_mask=mask))",
                ],
            },
        },
    },
    "model": "Translator()",
}


class Positional(nn.Module):
    def __init__(self, dim, length):
        super().__init__()
        pe = torch.zeros(length, dim)
        position = torch.arange(0, length, dtype=torch.float).unsqueeze(1)
        div = torch.exp(torch.arange(0, dim, 2).float() * (-math.log(10000.0) / dim))
        pe[:, 0::2] = torch.sin(position * div)
        pe[:, 1::2] = torch.cos(position * div)
        self.register_buffer("pe", pe.unsqueeze(0))
        self.dropout = nn.Dropout(p=0.1)

    def forward(self, x):
        return self.dropout(x + self.pe[:, : x.size(1)])


def two_token_inputs(batch):
    return torch.randint(0, 20, (batch, 6)), torch.randint(0, 18, (batch, 5))


@case(TRANSFORMER, two_token_inputs, "encoder-decoder Transformer")
class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.source = nn.Embedding(20, 16)
        self.target = nn.Embedding(18, 16)
        self.position = Positional(16, 30)
        self.core = nn.Transformer(16, 4, 1, 1, 32, batch_first=True)
        self.out = nn.Linear(16, 18)

    def forward(self, source, target):
        n = target.shape[1]
        mask = torch.triu(torch.full((n, n), float("-inf")), diagonal=1)
        x = self.position(self.source(source) * math.sqrt(16))
        y = self.position(self.target(target) * math.sqrt(16))
        return self.out(self.core(x, y, tgt_mask=mask))


WAVENET = {
    "modules": {
        "CausalConv": {
            "parameters": ["inside", "outside", "dilation"],
            "init": [{"conv": "Conv1d(inside, outside, 2, dilation=dilation)"}],
            "forward": ["return self.conv(F.pad(x, (self.dilation, 0)))"],
        },
        "Residual": {
            "parameters": ["channels", "dilation"],
            "init": [
                {"filtering": "CausalConv(channels, channels, dilation)"},
                {"gating": "CausalConv(channels, channels, dilation)"},
                {"mix": "Conv1d(channels, channels, 1)"},
                {"skip": "Conv1d(channels, channels, 1)"},
            ],
            "forward": [
                "z = torch.tanh(self.filtering(x)) * torch.sigmoid(self.gating(x))",
                "return x + self.mix(z), self.skip(z)",
            ],
        },
        "WaveNet": {
            "parameters": ["channels", "depth"],
            "init": [
                {"inlet": "CausalConv(1, channels, 1)"},
                {"blocks": "ModuleList([Residual(channels, 2 ** (i % 3)) for i in range(depth)])"},
                {"outlet": "Sequential(ReLU(), Conv1d(channels, 4, 1))"},
            ],
            "forward": [
                "x = self.inlet(x)",
                "total = 0",
                {"for": "block in self.blocks", "do": ["x, skip = block(x)", "total = total + skip"]},
                "return self.outlet(total)",
            ],
        },
    },
    "model": "WaveNet(6, 4)",
}


class CausalConv(nn.Module):
    def __init__(self, inside, outside, dilation):
        super().__init__()
        self.conv = nn.Conv1d(inside, outside, 2, dilation=dilation)
        self.dilation = dilation

    def forward(self, x):
        return self.conv(F.pad(x, (self.dilation, 0)))


class WaveResidual(nn.Module):
    def __init__(self, channels, dilation):
        super().__init__()
        self.filtering = CausalConv(channels, channels, dilation)
        self.gating = CausalConv(channels, channels, dilation)
        self.mix = nn.Conv1d(channels, channels, 1)
        self.skip = nn.Conv1d(channels, channels, 1)

    def forward(self, x):
        z = torch.tanh(self.filtering(x)) * torch.sigmoid(self.gating(x))
        return x + self.mix(z), self.skip(z)


@case(WAVENET, rows(1, 20))
class WaveNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.inlet = CausalConv(1, 6, 1)
        self.blocks = nn.ModuleList([WaveResidual(6, 2 ** (i % 3)) for i in range(4)])
        self.outlet = nn.Sequential(nn.ReLU(), nn.Conv1d(6, 4, 1))

    def forward(self, x):
        x = self.inlet(x)
        total = 0
        for block in self.blocks:
            x, skip = block(x)
            total = total + skip
        return self.outlet(total)


TEXTCNN = {
    "modules": {
        "TextCNN": {
            "parameters": ["kernels"],
            "init": [
                {"embed": "Embedding(40, 6)"},
                {"fixed": "Embedding(40, 6)"},
                "self.fixed.requires_grad_(False)",
                {"convs": "ModuleList([Conv1d(12, 5, k) for k in kernels])"},
                {"decoder": "Linear(5 * len(kernels), 2)"},
            ],
            "forward": [
                "e = torch.cat((self.embed(x), self.fixed(x)), dim=2).permute(0, 2, 1)",
                "parts = [F.relu(conv(e)).amax(dim=2) for conv in self.convs]",
                "return self.decoder(F.dropout(torch.cat(parts, dim=1), 0.5, self.training))",
            ],
        }
    },
    "model": "TextCNN((2, 3, 4))",
}


@case(TEXTCNN, tokens(9, 40))
class TextCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(40, 6)
        self.fixed = nn.Embedding(40, 6)
        self.fixed.requires_grad_(False)
        self.convs = nn.ModuleList([nn.Conv1d(12, 5, k) for k in (2, 3, 4)])
        self.decoder = nn.Linear(15, 2)

    def forward(self, x):
        e = torch.cat((self.embed(x), self.fixed(x)), dim=2).permute(0, 2, 1)
        parts = [F.relu(conv(e)).amax(dim=2) for conv in self.convs]
        return self.decoder(F.dropout(torch.cat(parts, dim=1), 0.5, self.training))


CONVERGED = {
    "modules": {
        "Converging": {
            "init": [{"cell": "Linear(8, 8)"}, {"head": "Linear(8, 3)"}, {"steps": {"buffer": "zeros(())"}}],
            "forward": [
                "h = torch.zeros_like(x)",
                {
                    "for": "i in range(20)",
                    "do": [
                        "new = torch.tanh(0.3 * self.cell(h) + x)",
                        "change = (new - h).abs().max().item()",
                        "h = new",
                        {"if": "change < 0.02", "then": ["break"]},
                    ],
                },
                "self.steps = self.steps + 1",
                "return self.head(h)",
            ],
        }
    },
    "model": "Converging()",
}


@case(CONVERGED, rows(8), "recurrent until converged")
class Converging(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x):
        h = torch.zeros_like(x)
        for _ in range(20):
            new = torch.tanh(0.3 * self.cell(h) + x)
            change = (new - h).abs().max().item()
            h = new
            if change < 0.02:
                break
        self.steps = self.steps + 1
        return self.head(h)
