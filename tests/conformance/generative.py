"""Autoencoders, generators, and models with several outputs."""

# ruff: noqa: E501 - statements of the language are one string each

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.conformance.case import case, rows

AUTOENCODER = {
    "modules": {
        "Autoencoder": {
            "init": [
                {"encoder": "Sequential(Linear(20, 12), ReLU(), Linear(12, 3))"},
                {"decoder": "Sequential(Linear(3, 12), ReLU(), Linear(12, 20), Sigmoid())"},
            ],
            "methods": {"encode": {"arguments": ["x"], "body": ["return self.encoder(x)"]}},
            "forward": ["return self.decoder(self.encode(x))"],
        }
    },
    "model": "Autoencoder()",
}


@case(AUTOENCODER, rows(20))
class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, 3))
        self.decoder = nn.Sequential(nn.Linear(3, 12), nn.ReLU(), nn.Linear(12, 20), nn.Sigmoid())

    def forward(self, x):
        return self.decoder(self.encoder(x))


VAE = {
    "modules": {
        "VAE": {
            "init": [
                {"fc1": "Linear(20, 16)"},
                {"fc21": "Linear(16, 4)"},
                {"fc22": "Linear(16, 4)"},
                {"fc3": "Linear(4, 16)"},
                {"fc4": "Linear(16, 20)"},
            ],
            "methods": {
                "encode": {
                    "arguments": ["x"],
                    "body": ["h1 = F.relu(self.fc1(x))", "return self.fc21(h1), self.fc22(h1)"],
                },
                "reparameterize": {
                    "arguments": ["mu", "logvar"],
                    "body": ["std = torch.exp(0.5 * logvar)", "eps = torch.randn_like(std)", "return mu + eps * std"],
                },
                "decode": {"arguments": ["z"], "body": ["return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))"]},
            },
            "forward": [
                "mu, logvar = self.encode(x.view(-1, 20))",
                "z = self.reparameterize(mu, logvar)",
                "return self.decode(z), mu, logvar",
            ],
        }
    },
    "model": "VAE()",
    "outputs": ["recon", "mu", "logvar"],
}


@case(VAE, rows(20))
class VAEModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(20, 16)
        self.fc21 = nn.Linear(16, 4)
        self.fc22 = nn.Linear(16, 4)
        self.fc3 = nn.Linear(4, 16)
        self.fc4 = nn.Linear(16, 20)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def decode(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 20))
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


VQVAE = {
    "modules": {
        "Quantizer": {
            "parameters": ["count", "dim", {"name": "beta", "default": 0.25}],
            "init": [
                {"codebook": "Embedding(count, dim)"},
                "init.uniform_(self.codebook.weight, -1.0 / count, 1.0 / count)",
                {"usage": {"buffer": "zeros(count)"}},
            ],
            "forward": {
                "arguments": ["z"],
                "body": [
                    "flat = z.permute(0, 2, 3, 1).reshape(-1, self.codebook.embedding_dim)",
                    "weight = self.codebook.weight",
                    "distances = flat.pow(2).sum(1, keepdim=True) - 2 * flat @ weight.t() + weight.pow(2).sum(1)",
                    "index = distances.argmin(1)",
                    "q = self.codebook(index).view(z.shape[0], z.shape[2], z.shape[3], -1).permute(0, 3, 1, 2)",
                    "loss = F.mse_loss(q, z.detach()) + self.beta * F.mse_loss(q.detach(), z)",
                    {
                        "if": "self.training",
                        "then": ["self.usage += F.one_hot(index, self.codebook.num_embeddings).sum(0)"],
                    },
                    "return z + (q - z).detach(), loss, index",
                ],
            },
        },
        "VQVAE": {
            "init": [
                {"encoder": "Sequential(Conv2d(1, 8, 4, 2, 1), ReLU(), Conv2d(8, 4, 1))"},
                {"quantizer": "Quantizer(16, 4)"},
                {"decoder": "ConvTranspose2d(4, 1, 4, 2, 1)"},
            ],
            "forward": [
                "q, loss, index = self.quantizer(self.encoder(x))",
                "return {'recon': self.decoder(q), 'loss': loss}",
            ],
        },
    },
    "model": "VQVAE()",
}


class Quantizer(nn.Module):
    def __init__(self, count, dim, beta=0.25):
        super().__init__()
        self.codebook = nn.Embedding(count, dim)
        nn.init.uniform_(self.codebook.weight, -1.0 / count, 1.0 / count)
        self.register_buffer("usage", torch.zeros(count))
        self.beta = beta

    def forward(self, z):
        flat = z.permute(0, 2, 3, 1).reshape(-1, 4)
        weight = self.codebook.weight
        distances = flat.pow(2).sum(1, keepdim=True) - 2 * flat @ weight.t() + weight.pow(2).sum(1)
        index = distances.argmin(1)
        q = self.codebook(index).view(z.shape[0], z.shape[2], z.shape[3], -1).permute(0, 3, 1, 2)
        loss = F.mse_loss(q, z.detach()) + self.beta * F.mse_loss(q.detach(), z)
        if self.training:
            self.usage += F.one_hot(index, 16).sum(0)
        return z + (q - z).detach(), loss


@case(VQVAE, rows(1, 8, 8), "VQ-VAE")
class VQVAEModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 4, 1))
        self.quantizer = Quantizer(16, 4)
        self.decoder = nn.ConvTranspose2d(4, 1, 4, 2, 1)

    def forward(self, x):
        q, loss = self.quantizer(self.encoder(x))
        return {"recon": self.decoder(q), "loss": loss}


GENERATOR = {
    "modules": {
        "up": {
            "parameters": ["inside", "outside", "stride", "padding"],
            "returns": "[ConvTranspose2d(inside, outside, 4, stride, padding, bias=False), BatchNorm2d(outside), ReLU(True)]",
        }
    },
    "model": "Sequential(*up(6, 16, 1, 0), *up(16, 8, 2, 1), ConvTranspose2d(8, 1, 4, 2, 1, bias=False), Tanh())",
}


@case(GENERATOR, rows(6, 1, 1), "DCGAN generator")
def generator():
    def up(inside, outside, stride, padding):
        conv = nn.ConvTranspose2d(inside, outside, 4, stride, padding, bias=False)
        return [conv, nn.BatchNorm2d(outside), nn.ReLU(True)]

    return nn.Sequential(*up(6, 16, 1, 0), *up(16, 8, 2, 1), nn.ConvTranspose2d(8, 1, 4, 2, 1, bias=False), nn.Tanh())


DIFFUSION = {
    "modules": {
        "timestep_embedding": {
            "arguments": ["t", "dim"],
            "body": [
                "half = dim // 2",
                "freqs = torch.exp(-math.log(10000) * torch.arange(half, device=t.device) / half)",
                "args = t[:, None] * freqs[None]",
                "return torch.cat([args.cos(), args.sin()], dim=-1)",
            ],
        },
        "Denoiser": {
            "init": [
                {"time": "Sequential(Linear(8, 16), SiLU(), Linear(16, 16))"},
                {"inlet": "Conv2d(1, 16, 3, padding=1)"},
                {"norm": "GroupNorm(4, 16)"},
                {"outlet": "Conv2d(16, 1, 3, padding=1)"},
                "init.zeros_(self.outlet.weight)",
            ],
            "forward": {
                "arguments": ["x", "t"],
                "body": [
                    "e = self.time(timestep_embedding(t, 8))",
                    "h = self.inlet(x) + e[:, :, None, None]",
                    "return self.outlet(F.silu(self.norm(h)))",
                ],
            },
        },
    },
    "model": "Denoiser()",
}


@case(DIFFUSION, lambda batch: (torch.randn(batch, 1, 8, 8), torch.rand(batch)), "diffusion denoiser")
class Denoiser(nn.Module):
    def __init__(self):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 16))
        self.inlet = nn.Conv2d(1, 16, 3, padding=1)
        self.norm = nn.GroupNorm(4, 16)
        self.outlet = nn.Conv2d(16, 1, 3, padding=1)
        nn.init.zeros_(self.outlet.weight)

    def forward(self, x, t):
        freqs = torch.exp(-9.210340371976184 * torch.arange(4) / 4)
        args = t[:, None] * freqs[None]
        e = self.time(torch.cat([args.cos(), args.sin()], dim=-1))
        return self.outlet(F.silu(self.norm(self.inlet(x) + e[:, :, None, None])))
