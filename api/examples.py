"""Examples in the OpenAPI document; a test submits every request here, so they stay true."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

_DIGITS = {"dataset": "digits", "batch_size": 64}
_PLAN = {
    "epochs": 5,
    "optimizer": {"type": "Adam", "lr": 0.001},
    "loss": {"type": "CrossEntropyLoss"},
    "metrics": ["accuracy"],
    "seed": 0,
}
MODELS: dict[str, dict[str, Any]] = {
    "sequential": {
        "summary": "A constructor expression with its input",
        "value": {
            "format": "model/1",
            "model": "Sequential(Linear(64, 128), ReLU(), Linear(128, 10))",
            "inputs": [{"name": "x", "dtype": "float32", "shape": ["B", 64]}],
        },
    },
    "graph": {
        "summary": "The computational graph of y = (x1 + w)(x2 + w)",
        "value": {
            "format": "model/1",
            "modules": {
                "Product": {
                    "init": [{"w": {"parameter": "tensor(2.0)"}}],
                    "forward": {
                        "arguments": ["x1", "x2"],
                        "body": ["a = x1 + self.w", "b = x2 + self.w", "return a * b"],
                    },
                }
            },
            "model": "Product()",
        },
    },
}

DATASETS: dict[str, dict[str, Any]] = {
    "upload": {
        "summary": "Begin the upload of a CSV file",
        "value": {"name": "houses", "format": "csv", "csv": {"delimiter": ";"}, "target": "price"},
    },
    "remote": {
        "summary": "Let the service fetch a file from a host that its operator allows",
        "value": {"name": "houses", "format": "csv", "url": "https://data.example.org/houses.csv", "target": "price"},
    },
    "inline": {
        "summary": "Tiny data in the request itself",
        "value": {"name": "xor", "columns": {"x": [[0, 0], [0, 1], [1, 0], [1, 1]], "y": [0, 1, 1, 0]}, "target": "y"},
    },
}

GRAPHS: dict[str, dict[str, Any]] = {
    "article": {
        "summary": "y = (x1 + w)(x2 + w): the gradient of w is the sum over two paths",
        "value": {"model": MODELS["graph"]["value"], "inputs": {"x1": 1.0, "x2": 3.0}, "gradients": {"of": ["w"]}},
    },
    "drawn": {
        "summary": "A batch of drawn inputs, without gradients",
        "value": {
            "model": "Sequential(Linear(4, 8), ReLU(), Linear(8, 2))",
            "inputs": {"x": {"random": "randn", "shape": [2, 4], "seed": 0}},
            "mode": "eval",
        },
    },
}

CHECKPOINT_CHANGES: dict[str, dict[str, Any]] = {
    "pin": {"summary": "Keep it whatever comes after it", "value": {"pinned": True}}
}

GRAPH_DIFFS: dict[str, dict[str, Any]] = {
    "fancy": {
        "summary": "The article's FancyMLP: larger inputs, more turns",
        "value": {
            "model": {
                "modules": {
                    "FancyMLP": {
                        "init": [{"rand_weight": {"buffer": "rand(20, 20)"}}, {"linear": "Linear(20, 20)"}],
                        "forward": [
                            "x = self.linear(x)",
                            "x = F.relu(torch.mm(x, self.rand_weight) + 1)",
                            "x = self.linear(x)",
                            {"while": "x.norm() > 1", "at_most": 1000, "do": ["x = x / 2"]},
                            {"if": "x.norm() < 0.8", "then": ["x = x * 10"]},
                            "return x.sum()",
                        ],
                    }
                },
                "model": "FancyMLP()",
            },
            "runs": [
                {"name": "small", "inputs": {"x": {"random": "rand", "shape": [2, 20], "seed": 0}}},
                {
                    "name": "large",
                    "inputs": {"x": {"random": "randint", "high": 100, "shape": [2, 20], "dtype": "float32"}},
                },
            ],
        },
    }
}

CAPTURES: dict[str, dict[str, Any]] = {
    "fancy": {
        "summary": "The article's FancyMLP: its loop becomes while_loop, its branch becomes cond",
        "value": {
            "model": GRAPH_DIFFS["fancy"]["value"]["model"],
            "inputs": {"x": {"random": "rand", "shape": [2, 20], "seed": 0}},
        },
    },
    "breaks": {
        "summary": "A return inside a loop, when the data say so, breaks the capture",
        "value": {
            "model": {
                "modules": {
                    "Impatient": {
                        "init": [{"linear": "Linear(4, 4)"}],
                        "forward": [
                            {
                                "for": "i in range(3)",
                                "do": ["x = self.linear(x)", {"if": "x.norm() < 1", "then": ["return x"]}],
                            },
                            "return x",
                        ],
                    }
                },
                "model": "Impatient()",
            },
            "inputs": {"x": {"random": "randn", "shape": [3, 4], "seed": 0}},
        },
    },
}

COMPARISONS: dict[str, dict[str, Any]] = {
    "mlp": {
        "summary": "A small MLP on a batch of 64",
        "value": {
            "model": "Sequential(Linear(64, 128), ReLU(), Linear(128, 10))",
            "inputs": {"x": {"random": "randn", "shape": [64, 64], "seed": 0}},
            "measure_seconds": 0.5,
        },
    },
}

EDITS: dict[str, dict[str, Any]] = {
    "head": {
        "summary": "Another head, the rest frozen",
        "value": {
            "operations": [
                {"op": "replace", "path": "2", "module": "Linear(128, 5)"},
                {"op": "freeze", "path": "0"},
            ]
        },
    }
}

PREDICTIONS: dict[str, dict[str, Any]] = {
    "rows": {
        "summary": "Rows with raw values",
        "value": {
            "rows": [{"length": 24.5, "width": 3.0, "colour": "red"}, {"length": 31, "width": 2.5, "colour": "blue"}]
        },
    },
    "test": {"summary": "The test part of the job's own data, with its metrics", "value": {"data": {"split": "test"}}},
    "other": {
        "summary": "Some rows of another data set, with three probabilities each and the raw outputs",
        "value": {"data": {"dataset": "digits", "rows": [0, 1, 2]}, "top_k": 3, "outputs": True},
    },
}

FORKS: dict[str, dict[str, Any]] = {
    "longer": {
        "summary": "Longer, with a smaller rate, from a checkpoint",
        "value": {
            "changes": {"training": {"epochs": 10, "optimizer": {"lr": 0.0001}}},
            "from_checkpoint": "ckpt_01kaq9y3t6f8m2r4v7x0z5b1cd",
        },
    }
}

REQUESTS: dict[str, dict[str, Any]] = {
    "short": {
        "summary": "A constructor expression",
        "value": {
            "name": "digits",
            "model": "Sequential(Linear(64, 128), ReLU(), Linear(128, 10))",
            "data": _DIGITS,
            "training": _PLAN,
        },
    },
    "layers": {
        "summary": "Layers as objects, with labels and a checkpoint policy",
        "value": {
            "model": {
                "type": "Sequential",
                "layers": [
                    {"type": "Linear", "in_features": 64, "out_features": 128},
                    {"type": "ReLU"},
                    {"type": "Linear", "in_features": 128, "out_features": 10},
                ],
            },
            "data": {**_DIGITS, "split": {"train": 0.8, "validation": 0.1, "test": 0.1, "seed": 0}},
            "training": {**_PLAN, "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}},
            "checkpoints": {"every": {"epochs": 1}, "keep": 3},
            "labels": {"course": "ml-101"},
        },
    },
    "subclass": {
        "summary": "A module of your own: one layer used twice, and a loop that depends on the data",
        "value": {
            "model": {
                "format": "model/1",
                "modules": {
                    "Twice": {
                        "init": [{"first": "Linear(64, 32)"}, {"shared": "Linear(32, 32)"}, {"head": "Linear(32, 10)"}],
                        "forward": [
                            "x = F.relu(self.first(x))",
                            "x = F.relu(self.shared(x))",
                            "x = F.relu(self.shared(x))",
                            {"while": "x.norm() > 1000", "at_most": 10, "do": ["x = x / 2"]},
                            "return self.head(x)",
                        ],
                    }
                },
                "model": "Twice()",
                "inputs": [{"name": "pixels", "dtype": "float32", "shape": ["B", 64]}],
            },
            "data": _DIGITS,
            "training": {**_PLAN, "epochs": 1},
        },
    },
    "autoencoder": {
        "summary": "Several outputs, a loss of several terms, and a metric of one's own",
        "value": {
            "model": {
                "format": "model/1",
                "modules": {
                    "Sparse": {
                        "init": [{"encoder": "Linear(64, 16)"}, {"decoder": "Linear(16, 64)"}],
                        "forward": ["code = F.relu(self.encoder(x))", "return self.decoder(code), code"],
                    }
                },
                "model": "Sparse()",
                "inputs": [{"name": "x", "column": "pixels", "shape": ["B", 64]}],
                "outputs": ["again", "code"],
            },
            "data": _DIGITS,
            "training": {
                **_PLAN,
                "loss": {
                    "terms": {"error": "F.mse_loss(again, x)", "sparsity": "code.abs().mean()"},
                    "total": "error + 0.01 * sparsity",
                },
                "metrics": [{"name": "largest_error", "expression": "(again - x).abs().max()"}],
            },
        },
    },
}

_CODES = {
    400: ("invalid_json", "The body is not valid JSON: Expecting value at line 1 column 7 (byte 6)."),
    401: ("unauthenticated", "A valid API key is required: send it as ``Authorization: Bearer mw_…``."),
    403: ("insufficient_scope", "This call needs a key with the scope jobs:write."),
    404: ("not_found", "No such object."),
    408: ("body_timeout", "The body did not arrive within 15 s."),
    409: ("already_terminal", "The job has already ended: it is succeeded."),
    412: ("precondition_failed", "It is no longer as your ``If-Match`` knows it."),
    413: ("body_too_large", "The body may have at most 1048576 bytes."),
    415: ("unsupported_media_type", "The request body must be JSON: send ``Content-Type: application/json``."),
    416: ("range_not_satisfiable", "The content has 40960 bytes."),
    422: ("out_of_range", "Input should be greater than or equal to 1."),
    429: ("quota_exceeded", "10000 jobs of this tenant have not ended; that is the limit."),
    503: ("unavailable", "The service cannot answer right now; try again in a moment."),
}


def problem(status: int) -> dict[str, Any]:
    """Return an example of the error that has this status."""
    code, detail = _CODES[status]
    errors = (
        [{"pointer": "/training/epochs", "code": code, "detail": detail}]
        if status == HTTPStatus.UNPROCESSABLE_ENTITY
        else []
    )
    return {
        "type": f"urn:modelwright:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": "req_01kaq9y3t6f8m2r4v7x0z5b1cd",
        "errors": errors,
    }
