"""Expressions outside a model are checked as those inside, and answer with their own places."""

import pytest

from services.definition.formulas import Source, check_formulas
from services.definition.problems import Place
from services.definition.vocabulary import Vocabulary
from services.errors import InvalidRequest

VAE = Vocabulary(("recon", "mu", "logvar"), {"x": "pixels", "pixels": "pixels", "label": "label", "target": "label"})
UNDECLARED = Vocabulary((), {"x": "pixels", "output": "output"}, open=True)
LOSS = "/training/loss/terms"


def formulas(terms, vocabulary=VAE, **unnamed):
    sources = [Source(name, text, Place(f"{LOSS}/{name}")) for name, text in terms.items()]
    sources += [Source(None, text, Place(f"{LOSS}/{name}")) for name, text in unnamed.items()]
    return check_formulas(sources, vocabulary)


def refusal(terms, vocabulary=VAE, **unnamed):
    with pytest.raises(InvalidRequest) as caught:
        formulas(terms, vocabulary, **unnamed)
    return caught.value.problems


def test_names_that_are_used_are_found_in_the_order_of_reading():
    found = formulas({"kld": "torch.sum(1 + logvar - mu.pow(2))", "bce": "F.mse_loss(recon, x)"}, total="bce + kld")
    assert list(found.names) == ["logvar", "mu", "recon", "x"]
    assert found.names["mu"] == Place(f"{LOSS}/kld", 24)


def test_terms_may_use_each_other_in_any_order():
    found = formulas({"b": "a * 2", "a": "recon.mean()"}, total="a + b")
    assert [source.name for source, _ in found.lines] == ["a", "b", None]


@pytest.mark.parametrize(
    ("text", "code", "column"),
    [
        ("F.mse_loss(recom, x)", "unknown_name", 12),
        ("F.mse_los(recon, x)", "unknown_function", 1),
        ("F.mse_loss(recon)", "missing", 1),
        ("  recon.mean( ", "invalid_expression", 13),
        ("os.system('rm')", "unknown_name", 1),
        ("recon.__class__", "invalid_expression", 1),
        ("recon(x)", "invalid_expression", 1),
        ("self.layer(x)", "invalid_expression", 1),
        ("lambda: recon", "invalid_expression", 1),
        ("open('/etc/passwd')", "unknown_function", 1),
        ("Linear(3, 3)(x)", "invalid_expression", 1),
        ("recon.mean() + sum(range(10**9))", "model_too_large", None),
        ("torch.zeros(10**6, 10**6).sum()", "model_too_large", None),
        ("10**10**10 * recon.mean()", "model_too_large", None),
        ("x = recon", "invalid_expression", 1),
        ("recon.mean(); x", "invalid_expression", 1),
        ("import os", "invalid_expression", 1),
        ("recon.data.mean()", "invalid_expression", 1),
        ("recon.register_hook(x)", "unknown_function", 1),
        ("torch.load('x')", "unknown_function", 1),
    ],
)
def test_what_is_wrong_has_a_code_the_pointer_of_its_term_and_a_column(text, code, column):
    problem = refusal({"a": text})[0]
    assert (problem.code, problem.pointer) == (code, f"{LOSS}/a")
    assert problem.column == column or (column is None and problem.column is not None)


def test_columns_count_in_the_text_as_the_client_wrote_it_also_inside_another_check():
    problem = refusal({"kld": "recon.mean()", "bce": "F.mse_loss(recon, x, reductoin='sum')"})[0]
    assert (problem.code, problem.pointer, problem.column) == ("extra_forbidden", f"{LOSS}/bce", 22)


def test_whoever_names_something_unknown_is_told_all_that_there_is():
    hint = refusal({"bce": "F.mse_loss(recom, x)"})[0].hint
    assert hint == "Did you mean recon? Known outputs: recon, mu, logvar; columns: x, pixels, label, target."
    assert "Did you mean bce" in refusal({"bce": "recon.mean()"}, total="bcee")[0].hint


def test_everything_that_is_wrong_is_told_at_once():
    problems = refusal({"a": "recom", "b": "x.", "recon": "x.mean()", "c": "d", "d": "c"}, total="foo")
    assert {problem.pointer.removeprefix(f"{LOSS}/") for problem in problems} == {"a", "b", "recon", "c", "total"}
    assert {problem.code for problem in problems} == {
        "unknown_name", "invalid_expression", "duplicate_name", "recursive_definition"
    }  # fmt: skip


def test_a_name_with_two_meanings_is_refused_where_it_is_used():
    problem = refusal({"a": "x.mean() + output.mean()"}, UNDECLARED)[0]
    assert (problem.code, problem.column) == ("ambiguous_name", 12)
    assert "what the model returns and the column 'output'" in problem.detail
    assert formulas({"a": "x.mean()"}, UNDECLARED)


def test_names_that_only_a_run_knows_wait_for_it_where_the_definition_names_no_outputs():
    assert list(formulas({"a": "logits.mean()"}, UNDECLARED).names) == ["logits"]
    assert refusal({"a": "logits.mean()"}, Vocabulary(("y",), {}))[0].code == "unknown_name"


def test_words_of_the_language_are_no_columns():
    vocabulary = Vocabulary((), {"F": "F", "sum": "sum", "class": "class", "a b": "a b", "max": "max", "x": "x"})
    assert vocabulary.names() == ["output", "x"]
    assert formulas({"a": "F.relu(x).sum() + max(1, 2)"}, vocabulary)


def test_an_expression_that_takes_nothing_from_outside_is_one():
    assert formulas({}, total="torch.zeros(3).sum()").names == {}


def test_a_label_of_ours_never_meets_a_name_of_the_request():
    vocabulary = Vocabulary(("value0", "values1"), {})
    found = formulas({"value": "value0.mean()"}, vocabulary, total="value + values1.mean()")
    assert list(found.names) == ["value0", "values1"]
