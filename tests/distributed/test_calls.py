"""What a call does that needs no second rank to be seen."""

import pytest
import torch
import torch.distributed as dist

import nearfar as nf
import nearfar.torch
from nearfar.losses import LOSSES
from nearfar.torch import agreement, given
from nearfar.torch.distributed import Loss


@pytest.fixture
def alone():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_every_loss_fits_the_notice():
    assert max(len(given.names(loss)) for loss in LOSSES.values()) == agreement.MOST


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # the compiler looks at it
def test_a_compiled_step_leaves_the_loss_alone(alone):
    criterion, encoder = Loss(nf.CLIP(), learn_temperature=True), torch.nn.Linear(3, 2)
    x, y = torch.randn(2, 5, 3)
    compiled = []

    def backend(graph, _):
        compiled.extend(node.target for node in graph.graph.nodes if node.op == "call_function")
        return graph

    def step(x, y):
        return 2 * criterion(encoder(x), encoder(y))

    found = []
    for call in (step, torch.compile(step, backend=backend)):
        encoder.zero_grad()
        value = call(x, y)
        value.backward()
        found.append((value.detach(), encoder.weight.grad))
    torch.testing.assert_close(*found)
    assert len(compiled) == 3  # the encoder twice, and 2 *


def test_no_group_is_an_error():
    with pytest.raises(RuntimeError, match=r"torch\.distributed to be initialised"):
        Loss(nf.NTXent())(torch.ones(2, 3), torch.ones(2, 3))
