"""What grows in a forward spends one budget, and what the model owns stays as its init made it."""

# ruff: noqa: E501 - statements of the language are one string each

from __future__ import annotations

import ast

import pytest
import torch

from services.definition import check
from services.errors import InvalidRequest
from services.modules import build, preflight, source
from tests.conformance.test_attacks import net
from worker.trainer.failures import explain

BUDGET = "one forward took more than its 1000000"
INTEGER = r"an integer grew beyond 2 \*\* 63"
LONG = {"for": "i in range(n)", "do": ["a.append(i)"]}


def at_first(*statements, **more):
    """Return a module whose forward begins with the data-dependent integer ``n``."""
    return net("n = int(x[0])", *statements, "return x", **more)


def function(argument, *body, call="f(x)"):
    return {
        "modules": {"f": {"arguments": [argument], "body": list(body)}, "Net": {"forward": [f"return {call}"]}},
        "model": "Net()",
    }


GROWTH = {
    "a square in a loop": (at_first({"while": "n > 1", "at_most": 100, "do": ["n = n * n"]}), 3, INTEGER),
    "a square by itself": (at_first({"while": "n > 1", "at_most": 100, "do": ["n *= n"]}), 3, INTEGER),
    "squares in a row": (at_first(*["n = n * n"] * 30), 3, INTEGER),
    "a sum": (at_first({"while": "n > 1", "at_most": 1000, "do": ["n = n + n"]}), 3, INTEGER),
    "a power of a size": (net("return x * (x.shape[0] ** 50)"), 4, INTEGER),
    "a power by itself": (at_first("n **= n"), 99, INTEGER),
    "a power of a power": (net("n = int(x[0])", "return x * n ** n ** n"), 99, INTEGER),
    "a power of an item": (net("n = x[0].item()", "return x * n ** n"), torch.tensor([99, 1]), INTEGER),
    "an integer in a list": (at_first("a = [n]", *["a[0] = a[0] * a[0]"] * 30), 3, INTEGER),
    "an integer in a list, in place": (at_first("a = [n]", *["a[0] *= a[0]"] * 30), 3, INTEGER),
    "an integer in a dict": (at_first("a = {'k': n}", *["a['k'] = a['k'] * a['k']"] * 30), 3, INTEGER),
    "a product of many": (at_first("a = [7]", LONG, "n = math.prod([i + 1 for i in a])"), 500, INTEGER),
    "a product of what is unknown": (
        at_first("a = (((((((1, n),),),),),),)", "b = math.prod([a[0][0][0][0][0], n])"), 1e9, "prod multiplies numbers",
    ),
    "a sum of many": (at_first("a = [7]", LONG, "n = sum([i + 9000000000000000000 for i in a])"), 500, INTEGER),
    "an integer through a function": (
        {"modules": {"f": {"arguments": ["n"], "body": ["return n * n"]},
                     "Net": {"forward": ["n = int(x[0])", *["n = f(n)"] * 30, "return x"]}}, "model": "Net()"}, 3, INTEGER,
    ),
    "a long string": (at_first("a = 'ab' * n"), 1e9, BUDGET),
    "a long string, turned round": (at_first("a = n * 'ab'"), 1e9, BUDGET),
    "a string times a tensor": (net("a = 'a' * x[0].long()", "return x"), 1e9, BUDGET),
    "a list times a tensor": (net("a = x[0].long() * [0]", "return x"), 1e9, BUDGET),
    "a list by itself": (at_first("a = [0]", "a *= n"), 1e9, BUDGET),
    "a long tuple": (at_first("a = (0,) * n"), 1e9, BUDGET),
    "a string in a loop": (at_first("a = 'x'", {"while": "n > 0", "at_most": 100, "do": ["a = a + a"]}), 3, BUDGET),
    "a string by itself": (at_first("a = 'x'", {"while": "n > 0", "at_most": 100, "do": ["a += a"]}), 3, BUDGET),
    "a list in a loop": (at_first("a = [n]", {"while": "n > 0", "at_most": 100, "do": ["a = a + a"]}), 3, BUDGET),
    "a list by extend": (at_first("a = [n]", {"while": "n > 0", "at_most": 100, "do": ["a.extend(a)"]}), 3, BUDGET),
    "a list by +=": (at_first("a = [n]", {"while": "n > 0", "at_most": 100, "do": ["a += a"]}), 3, BUDGET),
    "a list by splats": (at_first("a = [n]", {"while": "n > 0", "at_most": 100, "do": ["a = [*a, *a]"]}), 3, BUDGET),
    "a tuple by splats": (at_first("a = (n,)", {"while": "n > 0", "at_most": 100, "do": ["a = (*a, *a)"]}), 3, BUDGET),
    "a list by a slice": (at_first("a = [n]", {"while": "n > 0", "at_most": 100, "do": ["a[0:0] = a"]}), 3, BUDGET),
    "copies of a list": (at_first("a = [n]", LONG, "b = []", {"for": "i in range(n)", "do": ["b.append(a[:])"]}), 100_000, BUDGET),
    "conversions": (at_first("a = [n]", LONG, "b = []", {"for": "i in range(n)", "do": ["b.append(tuple(a))"]}), 100_000, BUDGET),
    "a list of a tensor": (net("a = list(x.expand(10000000, 2))", "return x"), 3, BUDGET),
    "numbers of a tensor": (net("a = x.expand(10000000, 2).tolist()", "return x"), 3, BUDGET),
    "a splat of a tensor": (net("a = [*x.expand(10000000, 2)]", "return x"), 3, BUDGET),
    "a loop over a tensor": (net({"for": "i in x.expand(10000000, 2)", "do": ["x = x + 1"]}, "return x"), 3, BUDGET),
    "a dict": (at_first("d = {i: i for i in range(n)}"), 1e9, BUDGET),
    "a range in a list": (at_first("a = list(range(n))"), 1e9, BUDGET),
    "a range in a sum": (at_first("a = sum(range(n))"), 1e9, BUDGET),
    "a range in a tensor": (at_first("a = torch.tensor(range(n))"), 1e9, BUDGET),
    "zipped ranges": (at_first({"for": "i, j in zip(range(n), range(n))", "do": ["x = x + 1"]}), 1e9, BUDGET),
    "nested lists in a string": (at_first("a = [n]", {"while": "n > 0", "at_most": 80, "do": ["a = [a, a]", "b = len(str(a))"]}), 3, BUDGET),
    "nested lists compared": (
        at_first("a = [n]", "b = [n]", {"while": "a == b", "at_most": 80, "do": ["a = [a, a]", "b = [b, b]"]}), 3, BUDGET,
    ),
    "nested tuples as a key": (at_first("a = (n,)", {"while": "n > 0", "at_most": 80, "do": ["a = (a, a)", "b = {a: 1}"]}), 3, BUDGET),
    "nested lists searched": (
        at_first("a = [n]", "b = [n]", {"while": "[a] == [a] and n > 0", "at_most": 80, "do": ["a = [a, a]", "b = [b, b]", "c = a in [b]"]}),
        3, BUDGET,
    ),
    "a list through a module": (
        {"modules": {"Twice": {"forward": {"arguments": ["a"], "body": ["return a + a"]}},
                     "Net": {"init": [{"twice": "Twice()"}], "forward": ["a = [x]", *["a = self.twice(a)"] * 40, "return x"]}},
         "model": "Net()"}, 3, BUDGET,
    ),
    "a list through a Sequential": (
        {"modules": {"Twice": {"forward": {"arguments": ["a"], "body": ["return a + a"]}},
                     "Net": {"init": [{"many": "Sequential(*[Twice() for i in range(40)])"}], "forward": ["self.many([x])", "return x"]}},
         "model": "Net()"}, 3, BUDGET,
    ),
    "a list through a method": (
        {"modules": {"Net": {"methods": {"twice": {"arguments": ["a"], "body": ["return [*a, *a]"]}},
                             "forward": ["a = [x]", *["a = self.twice(a)"] * 40, "return x"]}}, "model": "Net()"}, 3, BUDGET,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GROWTH)
def test_what_grows_spends_the_budget_of_its_forward(name):
    document, first, words = GROWTH[name]
    model = build(check(document))
    batch = first if isinstance(first, torch.Tensor) else torch.tensor([float(first), 1.0])
    for _ in range(2):
        with pytest.raises(RuntimeError, match=words):
            model(batch)


def test_a_spent_budget_names_its_place_in_preflight_and_in_a_job():
    document = at_first("a = [n]", {"while": "n >= 0", "at_most": 100, "do": ["b = 1", "a = a + a"]})
    inputs = {"x": {"dtype": "float32", "shape": ["B"]}}
    with pytest.raises(InvalidRequest) as caught:
        preflight(check(document | {"inputs": [{"name": "x", **inputs["x"]}]}))
    problem = caught.value.problems[0]
    assert (problem.code, problem.pointer, problem.column) == (
        "forward_budget_exceeded",
        "/modules/Net/forward/2/do/1",
        5,
    )
    assert problem.hint
    model = build(check(document))
    with pytest.raises(RuntimeError) as raised:
        model(torch.ones(2))
    failed = explain(raised.value, model, batch_size=2).to_dict()
    assert (failed["code"], failed["pointer"], failed["class"]) == (problem.code, f"/model{problem.pointer}", "user")
    assert "column 5" in failed["message"]


@pytest.mark.parametrize("result", ["a", "self.c(a)", "{'a': a}, x"])
def test_a_list_that_holds_itself_is_refused_in_preflight_with_the_fix(result):
    document = net("a = [x]", "a.append(a)", f"return {result}", init=[{"c": "Identity()"}])
    inputs = {"x": {"dtype": "float32", "shape": ["B", 4]}}
    with pytest.raises(InvalidRequest) as caught:
        preflight(check(document), inputs)
    (problem,) = caught.value.problems
    assert problem.code == "forward_failed" and "make it flat" in str(problem.hint) and len(problem.detail) < 400


def test_a_result_of_lists_of_lists_is_looked_at_up_to_a_limit():
    document = net("a = [x]", *["a = [a, a]"] * 14, "return a")
    report = preflight(check(document), {"x": {"dtype": "float32", "shape": ["B", 4]}})
    assert 0 < len(report["outputs"]) <= 1_000


PLAIN = {
    "sizes": ["b, t = x.shape", "h = 4", "return x.view(b, t // h, h).transpose(1, 2).reshape(b * h, t // h) * (t // h) ** 2"],
    "names": ["y = [str(i) + 'a' for i in range(3)]", "return x * len('b' + y[0])"],
    "parts of a tensor": ["a, b = x.chunk(2, dim=-1)", "c, d = x.split(2, dim=1)", "return a * b + c - d"],
    "a running sum": ["total = 0", {"for": "i in range(3)", "do": ["total = total + x * i", "total += x"]}, "return total"],
    "a list of outputs": ["y = []", {"for": "i in range(3)", "do": ["y.append(x)", "y += [x]"]}, "return torch.stack(y)"],
    "counters": ["n = 0", {"for": "i in range(9)", "do": ["n += 1", "m = n - 2 * i"]}, "return x * n * m"],
    "masks": ["return x * (x.shape[0] * x.shape[1]) ** 0.5 + x ** 2"],
    "padding": ["return x.new_zeros((x.shape[0],) + (1,) * (x.ndim - 1)) + x"],
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_tensors_and_sizes_need_no_guard(name):
    assert "_budget" not in source(check(net(*PLAIN[name])))
    build(check(net(*PLAIN[name])))(torch.randn(2, 4))


SAME = {
    "a list": ["a = [x]", {"for": "i in range(n)", "do": ["a += [x * i]", "b = a", "b *= 2", "a = a[::2] + b[1:2]"]}, "return torch.stack(a)"],
    "numbers": ["a = 1", {"for": "i in range(n)", "do": ["a = a * 3 + i", "a -= 1", "a **= 1"]}, "return x * a"],
    "strings": ["a = 'x'", {"for": "i in range(n)", "do": ["a = a + str(i)", "a += 'yz'", "a *= 2"]}, "return x * len(a)"],
    "tensors or numbers": ["a = 0", {"for": "i in range(n)", "do": ["a += x", "a *= 2", "a = a ** 2"]}, "b = a", "b *= 3", "return a + b"],
    "a dict": ["d = {'a': x}", {"for": "i in range(n)", "do": ["d[str(i)] = x * i", "d.update({'z': x})"]}, "return torch.stack(list(d.values()))"],
    "products": ["a = [2]", {"for": "i in range(n)", "do": ["a.append(i + 1)"]}, "return x * math.prod(a) + sum(a) + max(a)"],
    "nested": ["a = [[1]]", {"for": "i in range(n)", "do": ["a.append([i, [i]])"]}, "return x * len(str(a)) if [2, [2]] in a else x"],
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_a_guarded_forward_gives_what_its_text_gives(name):
    definition = check(net("n = int(x[0])", *SAME[name]))
    assert "_budget" in source(definition)
    plain = {"torch": torch, "math": __import__("math")}
    exec("def forward(x):\n" + "\n".join(_lines(["n = int(x[0])", *SAME[name]])), plain)
    x = torch.tensor([4.0, 0.5])
    for build_model in (lambda: build(definition), lambda: _downloaded(definition)):
        assert torch.equal(build_model()(x.clone()), plain["forward"](x.clone()))


def _lines(body, depth=1):
    for item in body:
        if isinstance(item, dict):
            yield "    " * depth + f"for {item['for']}:"
            yield from _lines(item["do"], depth + 1)
        else:
            yield "    " * depth + item


def _downloaded(definition):
    namespace = {"__name__": "downloaded"}
    exec(source(definition), namespace)
    return namespace["build_model"]()


LAYERS = [{"layers": "ModuleList([Sequential(Linear(2, 2)), Sequential(ReLU())])"}]
VALUE = [{"k": {"value": "[1, [2]]"}}]
TABLE = [{"k": {"value": "{'a': [1]}"}}]
CHANGES = {
    "an alias": (LAYERS, ["a = self.layers", "a.append(a[0])"], 1),
    "an alias of an alias": (LAYERS, ["a = self.layers", "b = a", "b.extend(a)"], 2),
    "a tuple": (LAYERS, ["a = (self.layers, 1)", "a[0].append(a[0][0])"], 1),
    "an unpacked tuple": (LAYERS, ["a, b = self.layers, 1", "a.append(a[0])"], 1),
    "a choice": (LAYERS, ["a = self.layers if self.training else self.layers", "a.append(a[0])"], 1),
    "a list": (LAYERS, ["a = [self.layers]", "a[0].append(a[0][0])"], 1),
    "a dict": (LAYERS, ["a = {'k': self.layers}", "a['k'].append(self.layers[0])"], 1),
    "an item": (LAYERS, ["a = self.layers[0]", "a.append(a[0])"], 1),
    "an item at once": (LAYERS, ["self.layers[0].append(self.layers[0][0])"], 0),
    "a slice": (LAYERS, ["a = self.layers[0:1]", "a[0].append(self.layers[1])"], 1),
    "a replaced item": (LAYERS, ["a = self.layers", "a[0] = a[1]"], 1),
    "a replaced item at once": (LAYERS, ["self.layers[0] = self.layers[1]"], 0),
    "a registry": (LAYERS, ["self['lay' + 'ers'] = self.layers"], 0),
    "in place": (LAYERS, ["a = self.layers", "a += a"], 1),
    "in place, repeated": (LAYERS, ["a = self.layers[0]", "a *= 3"], 1),
    "repeated": (LAYERS, ["a = self.layers[0] * 1000000"], 0),
    "halves": (LAYERS, ["a = self.layers[0]", "a.half()"], 1),
    "doubles at once": (LAYERS, ["self.layers.double()"], 0),
    "frozen": (LAYERS, ["a = self.layers[0][0].weight", "a.requires_grad_(False)"], 1),
    "popped": (VALUE, ["a = self.k", "a.pop()"], 1),
    "a value": (VALUE, ["a = self.k", "a.append(x)"], 1),
    "a value at once": (VALUE, ["self.k.append(x)"], 0),
    "a value in place": (VALUE, ["a = self.k", "a += [x]"], 1),
    "an item of a value": (VALUE, ["self.k[0] = x"], 0),
    "an item of a value in place": (VALUE, ["self.k[0] += 1"], 0),
    "a list in a value": (VALUE, ["a = self.k[1]", "a.append(x)"], 1),
    "a table": (TABLE, ["a = self.k", "a['b'] = x"], 1),
    "a table at once": (TABLE, ["self.k.update({'b': x})"], 0),
    "a table in place": (TABLE, ["a = self.k", "a |= {'b': x}"], 1),
    "a list in a table": (TABLE, ["a = self.k['a']", "a.append(x)"], 1),
    "a list of a table": (TABLE, ["a = self.k.get('a')", "a.append(x)"], 1),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_forward_that_changes_the_model_through_an_alias_is_refused_where_it_does(name):
    init, body, index = CHANGES[name]
    with pytest.raises(InvalidRequest) as caught:
        check(net(*body, "return x", init=init))
    problem = caught.value.problems[0]
    assert (problem.code, problem.pointer) == ("invalid_expression", f"/modules/Net/forward/{index}")
    assert problem.column
    assert "change the model" in problem.detail or "do not compute" in problem.detail


def through(definitions, init, forward):
    return {"modules": {**definitions, "Net": {"init": init, "forward": [*forward, "return x"]}}, "model": "Net()"}


ADD = {"arguments": ["a"], "body": ["a.append(a[0])"]}
INDIRECT = {
    "a loop": (net({"for": "m in self.layers", "do": ["m.append(m[0])"]}, "return x", init=LAYERS), "/modules/Net/forward/0/do/0"),
    "a comprehension": (net("a = [m.append(m[0]) for m in self.layers]", "return x", init=LAYERS), "/modules/Net/forward/0"),
    "pairs": (net({"for": "i, m in enumerate(self.layers)", "do": ["m.append(m[0])"]}, "return x", init=LAYERS), "/modules/Net/forward/0/do/0"),
    "a function": (through({"f": ADD}, LAYERS, ["f(self.layers)"]), "/modules/f/body/0"),
    "a function and a value": (through({"f": ADD}, VALUE, ["f(self.k)"]), "/modules/f/body/0"),
    "a function that returns it": (through({"f": {"arguments": ["a"], "body": ["return a"]}}, VALUE, ["a = f(self.k)", "a.append(1)"]), "/modules/Net/forward/1"),
    "a child": (through({"A": {"forward": ADD}}, [*VALUE, {"a": "A()"}], ["self.a(self.k)"]), "/modules/A/forward/body/0"),
    "a method": ({"modules": {"Net": {"init": VALUE, "methods": {"f": ADD}, "forward": ["self.f(self.k)", "return x"]}}, "model": "Net()"}, "/modules/Net/methods/f/body/0"),
    "a parameter of the definition": (
        {"modules": {"Net": {"parameters": ["sizes"], "forward": ["a = self.sizes", "a.append(1)", "return x"]}}, "model": "Net([1, 2])"},
        "/modules/Net/forward/1",
    ),
    "a default that all calls share": (
        through({"f": {"arguments": ["x", {"name": "memo", "default": {"a": 1}}], "body": ["memo['b'] = x"]}}, [], ["f(x)"]),
        "/modules/f/body/0",
    ),
    "a child of a child": (
        through({"A": {"init": LAYERS, "forward": ["return x"]}}, [{"a": "A()"}], ["b = self.a.layers", "b.append(b[0])"]),
        "/modules/Net/forward/1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", INDIRECT)
def test_a_change_is_seen_through_loops_functions_and_children(name):
    document, pointer = INDIRECT[name]
    with pytest.raises(InvalidRequest) as caught:
        check(document)
    assert [problem.pointer for problem in caught.value.problems] == [pointer]


def test_a_guarded_item_is_not_looked_up_twice_by_a_call():
    with pytest.raises(InvalidRequest) as caught:
        check(at_first("a = [n]", "a[int(torch.rand(1))] *= n"))
    assert caught.value.problems[0].pointer == "/modules/Net/forward/2"
    build(check(net("x[int(torch.rand(1))] *= 2", "return x")))(torch.ones(2))


def test_a_forward_may_change_lists_of_its_own():
    document = net("a = list(self.k)", "a.append(3)", "b = [*self.layers]", "b.append(b[0])", "c = dict(self.t)", "c['z'] = x",
                   {"for": "layer in b", "do": ["x = layer(x)"]}, "return x * len(a)",
                   init=[*VALUE, *LAYERS, {"t": {"value": "{'a': 1}"}}])  # fmt: skip
    model = build(check(document))
    for _ in range(2):
        model(torch.randn(1, 2))
    assert (model.k, len(model.layers), model.t) == ([1, [2]], 2, {"a": 1})


def test_what_the_text_cannot_tell_is_asked_at_run_time():
    items = ["a = ((((((self.layers,),),),),),)", "b = a[0][0][0][0][0]"]
    document = net(*items, "b[0].append(self.layers[1])", "return x", init=LAYERS)
    text = source(check(document))
    assert "_local(" in text and ast.parse(text)
    model = build(check(document))
    with pytest.raises(RuntimeError, match="must not change the containers"):
        model(torch.randn(1, 2))
    assert len(model.layers[0]) == 1
