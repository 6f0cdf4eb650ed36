"""Shared by all tests. torch comes first: TensorFlow, imported before it, has crashed it."""

import torch  # noqa: F401  isort: skip
import pytest

pytest.register_assert_rewrite("agreement")

from frameworks import FLOAT_DTYPES, FRAMEWORKS  # noqa: E402


@pytest.fixture(params=FRAMEWORKS.values(), ids=FRAMEWORKS)
def framework(request):
    return request.param


@pytest.fixture(params=FLOAT_DTYPES)
def dtype(request):
    return request.param
