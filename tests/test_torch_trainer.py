"""Encoders, augmentations and the batches of a training."""

import numpy as np
import pytest
import torch

import nearfar as nf
from nearfar.torch.trainer.augmentation import FeatureChanges, ImageChanges
from nearfar.torch.trainer.encoders import Architecture
from nearfar.torch.trainer.training import Recipe, Rows, Training, embed

RECIPE = Recipe(
    epochs=3,
    batch_size=16,
    lr=1e-2,
    weight_decay=1e-4,
    patience=3,
    augmentation=1.0,
    flip=False,
    learn_temperature=False,
    seed=0,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class TestEncoder:
    @pytest.mark.parametrize(
        ("kind", "shape"), [("mlp", (5,)), ("mlp", (4, 3)), ("cnn", (9, 8)), ("cnn", (8, 10, 3))]
    )
    def test_standardises_and_embeds(self, kind, shape):
        rng = np.random.default_rng(1)
        X = (rng.normal(size=(40, *shape)) * 3 + 50).astype(np.float32)
        X[..., 0] += 20
        encoder = Architecture(kind, shape, 7).build()
        encoder.standardise_by(X)
        inside = encoder.standardised(torch.as_tensor(X))
        assert abs(inside.mean()) < 1e-5
        assert abs(inside.std() - 1) < 1e-2
        if kind == "cnn":
            channels = shape[2] if len(shape) == 3 else 1
            assert inside.shape == (40, channels, *shape[:2])
            # Axes in their places: a bright left column stays one.
            np.testing.assert_allclose(
                inside[3, 0] * encoder.scale[0] + encoder.mean[0],
                X[3].reshape(*shape[:2], -1)[..., 0],
                rtol=1e-5,
            )
        Z = embed(encoder, X)
        assert Z.shape == (40, 7)
        assert Z.dtype == np.float64
        np.testing.assert_allclose(embed(encoder, X[5:6]), Z[5:6], atol=1e-6)

    def test_bytes_are_numbers(self):
        X = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
        encoder = Architecture("cnn", (8, 8), 3).build()
        encoder.standardise_by(X)
        np.testing.assert_allclose(
            embed(encoder, X), embed(encoder, X.astype(np.float64)), atol=1e-6
        )

    def test_weights_round_trip(self):
        architecture = Architecture("cnn", (8, 8), 3)
        first, second = architecture.build(), Architecture.from_dict(architecture.to_dict()).build()
        X = np.random.default_rng(0).normal(size=(4, 8, 8))
        assert np.abs(embed(first, X) - embed(second, X)).max() > 1e-3
        second.load_weights(first.weights())
        np.testing.assert_array_equal(embed(first, X), embed(second, X))

    def test_constant_features_and_small_images(self):
        encoder = Architecture("mlp", (2,), 3).build()
        encoder.standardise_by(np.array([[1.0, 5.0], [3.0, 5.0]]))
        assert encoder.scale.tolist() == [1.0, 1.0]
        with pytest.raises(ValueError, match=r"images of 8 x 8 or more.*\(7, 9\)"):
            Architecture("cnn", (7, 9), 3)
        with pytest.raises(ValueError, match="received 'vit'"):
            Architecture("vit", (8, 8), 3)


class TestChanges:
    def test_images_of_no_strength_stay(self):
        x = torch.rand(3, 2, 8, 9, generator=generator())
        torch.testing.assert_close(ImageChanges(0)(x, generator()), x)

    def test_a_flip_alone_mirrors_half_of_them(self):
        x = torch.rand(200, 1, 4, 5, generator=generator())
        y = ImageChanges(0, flip=True)(x, generator(3))
        kept = (y - x).abs().amax(dim=(1, 2, 3)) < 1e-5
        mirrored = (y - x.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-5
        assert (kept ^ mirrored).all()
        assert 70 < kept.sum() < 130

    def test_images_differ_and_repeat(self):
        x = torch.rand(2, 3, 8, 8, generator=generator())[:1].expand(2, 3, 8, 8)
        y = ImageChanges()(x, generator(1))
        assert (y[0] - y[1]).abs().max() > 0.1
        torch.testing.assert_close(ImageChanges()(x, generator(1)), y, rtol=0, atol=0)
        assert y.dtype == x.dtype

    def test_features_are_replaced_by_those_of_other_rows(self):
        x = torch.arange(600.0).reshape(200, 3)
        y = FeatureChanges(0.5)(x, generator())
        changed = y != x
        assert 0.1 < changed.double().mean() < 0.2
        for column in range(3):
            assert set(y[:, column].tolist()) <= set(x[:, column].tolist())
        assert (FeatureChanges(0)(x, generator()) == x).all()


class TestTraining:
    def rows(self, n=60, classes=3):
        rng = np.random.default_rng(0)
        y = np.arange(n) % classes
        return Rows(rng.normal(size=(n, 6)) + 2 * np.eye(classes, 6)[y], y)

    def training(self, loss, rows=None, validation=None, **changes):
        recipe = Recipe(**{**RECIPE.__dict__, **changes})
        return Training(Architecture("mlp", (6,), 4), loss, recipe, rows or self.rows(), validation)

    def test_state_goes_on_as_if_nothing_had_happened(self):
        told = []
        whole = self.training(nf.NTXent(), learn_temperature=True)
        states = []
        whole.run(lambda epoch: (told.append(epoch), states.append(whole.state())))
        late = self.training(nf.NTXent(), learn_temperature=True)
        late.restore(*states[0])
        again = []
        late.run(again.append)
        assert again == told[1:]
        assert late.take_best() == whole.take_best() != nf.NTXent()

    def test_best_epoch_is_taken_not_the_last(self):
        rng = np.random.default_rng(0)
        noise = Rows(rng.normal(size=(64, 6)), rng.integers(0, 2, 64))
        other = Rows(rng.normal(size=(40, 6)), rng.integers(0, 2, 40))
        training = self.training(nf.SupCon(), noise, other, epochs=30, patience=30, lr=0.03)
        told = []
        training.run(told.append)
        lowest = min(told, key=lambda epoch: epoch.validation)
        assert training.best_epoch == lowest.epoch < 30
        training.take_best()
        Z = torch.as_tensor(embed(training.encoder, other.X))
        value = nf.SupCon()(Z, torch.as_tensor(other.y))
        assert float(value) == pytest.approx(lowest.validation, rel=1e-5)

    def test_many_classes_are_balanced(self):
        rows = self.rows(n=200, classes=25)
        training = self.training(nf.SupCon(), rows, batch_size=24)
        for batch in training._batches(generator()):
            counts = np.unique(rows.y[batch], return_counts=True)[1]
            assert counts.tolist() == [8, 8, 8]

    def test_few_classes_are_shuffled(self):
        training = self.training(nf.SupCon(), batch_size=30)
        batches = list(training._batches(generator()))
        assert sorted(np.concatenate(batches)) == list(range(60))
        assert [len(batch) for batch in batches] == [30, 30]

    @pytest.mark.parametrize(
        "loss",
        [
            nf.ProxyAnchor(),
            nf.ArcFace(),
            nf.CosFace(),
            nf.NormalizedSoftmax(),
            nf.ProxyNCA(),
            nf.SoftTriple(),
        ],
        ids=lambda loss: type(loss).__name__,
    )
    def test_proxies_are_learned_beside_the_encoder(self, loss):
        # A class of the validation rows alone has a proxy as well.
        validation = Rows(self.rows().X[:8], np.array([0, 1, 2, 4, 0, 1, 2, 4]))
        learned = {"learn_temperature": "temperature" in loss.parameters}
        training = self.training(loss, None, validation, **learned)
        proxies = training._all["criterion"].proxies
        assert tuple(proxies.shape) == ((5, 10, 4) if loss.several_centres else (5, 4))
        start, told, states = proxies.detach().clone(), [], []
        training.run(lambda epoch: (told.append(epoch), states.append(training.state())))
        assert (proxies != start).any(-1).all()
        assert told[-1].loss < told[0].loss
        assert None not in (told[0].validation, told[0].alignment)
        again = self.training(loss, None, validation, **learned)
        again.restore(*states[0])
        later = []
        again.run(later.append)
        assert later == told[1:]

    def test_targets_and_no_validation(self):
        X = self.rows().X
        rows = Rows(X, X[:, 4])
        told = []
        self.training(nf.SupCR(), rows, augmentation=0.0).run(told.append)
        assert [epoch.alignment for epoch in told] == [None] * 3
        assert [epoch.validation for epoch in told] == [None] * 3
        assert told[-1].loss < told[0].loss
