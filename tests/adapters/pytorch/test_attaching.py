"""Weights on a trainer of one's own, which holds its loss and its data loader as attributes."""

import pytest

torch = pytest.importorskip("torch")
from counterpoise_adapters.pytorch.attaching import AttachedLoss, Attachment, without_dropout  # noqa: E402
from counterpoise_adapters.pytorch.config import RobustConfig  # noqa: E402
from counterpoise_adapters.pytorch.watch import as_leaves  # noqa: E402

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(12, 3, dtype=torch.float64, generator=GENERATOR)
TARGETS = torch.randn(12, dtype=torch.float64, generator=GENERATOR)


class Loop:
    """A regression: micro-batches of four, a step of all of them."""

    def __init__(self, size=4):
        torch.manual_seed(1)
        self.model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1)).double()
        self.model[1].p = 0.0
        self.loss_fn = lambda outputs, targets: ((outputs - targets) ** 2).mean()
        self.train_dataloader = [(INPUTS[i : i + size], TARGETS[i : i + size]) for i in range(0, 12, size)]

    def fit(self):
        self.reported = []
        for inputs, targets in self.train_dataloader:
            loss = self.loss_fn(self.model(inputs).squeeze(1), targets)
            self.reported.append(loss.item())
            (loss / len(self.train_dataloader)).backward()
        return torch.cat([p.grad.flatten() for p in self.model.parameters()])


class Weights(AttachedLoss):
    def __init__(self, loop, config):
        self.steps, self.loop = len(loop.train_dataloader), loop
        super().__init__(loop, config, None)

    def looks(self, window):
        with without_dropout(self.loop.model), torch.no_grad():
            outputs = [self.loop.model(inputs).squeeze(1) for inputs, _ in window]
        for output, (_, targets) in zip(outputs, window, strict=True):
            yield (as_leaves(output), targets), {}


def robust(size=4, **config):
    loop = Loop(size)
    with Weights(loop, RobustConfig(**config)) as attached:
        gradient = loop.fit()
    return gradient, attached


@pytest.mark.parametrize("config", [{"objective": "kl_dro", "penalty": 0.7}, {"objective": "cvar", "level": 0.4}])
def test_a_step_of_micro_batches_has_the_gradient_of_one_batch(config):
    whole, _ = robust(12, **config)
    parts, attached = robust(scope="step", **config)
    torch.testing.assert_close(parts, whole, rtol=1e-10, atol=1e-12)
    naive, _ = robust(**config)
    assert (naive - whole).norm() > 1e-2 * whole.norm()
    assert attached.weighed.weights.shape == (4,)
    means = attached.weigher.means()
    assert means["robust/value"] > means["robust/erm_loss"]
    assert attached.loop.reported == pytest.approx([float(means["robust/value"])] * 3)


def test_uniform_weights_are_plain_training_to_the_bit():
    assert torch.equal(robust(objective="erm", scope="step")[0], Loop().fit())


def test_uneven_micro_batches_count_their_examples_alike():
    loop = Loop()
    loop.train_dataloader = [(INPUTS[a:b], TARGETS[a:b]) for a, b in ((0, 6), (6, 7), (7, 12))]
    config = RobustConfig("kl_dro", penalty=0.7, scope="step")
    with Weights(loop, config):
        parts = loop.fit()
    torch.testing.assert_close(parts, robust(12, objective="kl_dro", penalty=0.7)[0], rtol=1e-10, atol=1e-12)


def test_detaching_leaves_the_object_as_it_was_found():
    loop = Loop()
    before = dict(vars(loop))
    attached = Weights(loop, RobustConfig("kl_dro", penalty=1.0))
    with pytest.raises(RuntimeError, match="attached to this Loop already"):
        Weights(loop, RobustConfig("kl_dro", penalty=1.0))
    assert vars(loop) != before
    attached.detach()
    attached.detach()
    assert vars(loop) == before
    with Attachment(loop, fit=print):  # what was the class's is the class's again
        assert loop.fit is print
    assert "fit" not in vars(loop)


def test_losses_without_their_batch_and_columns_that_are_missing_are_refused():
    loop = Loop()
    attached = Weights(loop, RobustConfig("dora", penalty=1.0))
    with pytest.raises(RuntimeError, match="a loss of a batch that its train_dataloader did not give"):
        loop.loss_fn(torch.zeros(2, requires_grad=True), torch.zeros(2))
    with torch.no_grad():
        assert loop.loss_fn(torch.ones(2), torch.zeros(2)) == 1
    with pytest.raises(ValueError, match="a training batch lacks the column 'ratio'"):
        loop.fit()
    attached.detach()
    with pytest.raises(NotImplementedError):
        next(iter(AttachedLoss(loop, RobustConfig("kl_dro", penalty=1.0, scope="step"), None).looks([])))


def test_a_first_look_leaves_the_mode_alone():
    model = Loop().model
    with pytest.raises(KeyError), without_dropout(model):
        assert not any(module.training for module in model.modules())
        raise KeyError
    assert all(module.training for module in model.modules())
