"""What it takes to say what is wrong with a request."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from services.training.problems import prepare, problems_from


def make_model():
    described = []

    class Request(BaseModel):
        model_config = ConfigDict(extra="forbid")
        epochs: int = 1

        @classmethod
        def model_json_schema(cls, *args, **kwargs):
            described.append(cls)
            time.sleep(0.05)
            return super().model_json_schema(*args, **kwargs)

    return Request, described


def refuse(model):
    with pytest.raises(ValidationError) as caught:
        model.model_validate({"epoch": 3})
    return problems_from(caught.value, model)


def test_of_many_requests_that_are_refused_first_one_describes_the_form():
    model, described = make_model()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(refuse, [model] * 8))
    assert described == [model]
    assert [[problem.code for problem in answer] for answer in answers] == [["extra_forbidden"]] * 8
    assert answers[0][0].hint == "Did you mean 'epochs'?"


def test_a_form_that_was_prepared_is_not_described_again():
    model, described = make_model()
    prepare(model)
    assert described == [model]
    refuse(model)
    assert described == [model]
