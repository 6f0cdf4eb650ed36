"""Peak memory of value and gradient, measured in fresh processes."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import numpy as np
import nearfar as nf

framework, rows, classes, loss = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
features = int(sys.argv[5])
loss = eval(loss, {"nf": nf})
rng = np.random.default_rng(0)
x = rng.normal(size=(rows, features)).astype(np.float32)
inputs = [x, rng.integers(0, classes, rows)] if classes else [x[: rows // 2], x[rows // 2 :]]
if isinstance(loss, nf.InfoNCE):
    inputs = [x[:256], x[256:512], x]
if isinstance(loss, nf.SupCR):
    inputs = [x, rng.normal(size=rows).astype(np.float32)]
if framework == "torch":
    import torch
    inputs = [torch.from_numpy(np.ascontiguousarray(array)) for array in inputs]


def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


# More than a small batch, which would leave PyTorch's own threads and buffers to the next call.
loss.value_and_grad(*(array[:300] for array in inputs))
with open("/proc/self/clear_refs", "w") as counters:
    counters.write("5")  # sets the peak back to what is in use now
before = peak()
loss.value_and_grad(*inputs)
print((peak() - before) // 1024)
"""

# The frameworks take turns, where they share what is tried.
LARGE = [
    ("torch", "nf.NTXent()", 0),
    ("numpy", "nf.SupCon()", 1000),
    # Half a billion positive pairs, none of which may be listed.
    ("numpy", "nf.SupCon(denominator='own_positive')", 2),
    ("torch", "nf.InfoNCE()", 0),
]
OTHERS = [
    f"nf.SupCon(denominator={denominator!r}, positives={positives!r})"
    for denominator in ("all", "own_positive", "negatives")
    for positives in ("mean_log", "sum_log", "log_mean", "log_sum")
] + ["nf.SupCon(similarity='neg_euclidean')", "nf.NTXent(temperature=0.01)"]


def growth(framework: str, loss: str, classes: int, rows: int, features: int = 64) -> int:
    """Growth of the process's own peak during the call, in MiB."""
    numbers = [str(rows), str(classes)]
    command = [sys.executable, "-c", PROGRAM, framework, *numbers, loss, str(features)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


def linux_only():
    if not sys.platform.startswith("linux"):
        pytest.skip("reads the peak from /proc")


@pytest.mark.long
@pytest.mark.parametrize(("framework", "loss", "classes"), LARGE)
def test_thirty_thousand_rows(framework, loss, classes):
    linux_only()
    assert growth(framework, loss, classes, 32_768) < 128


@pytest.mark.long
@pytest.mark.parametrize(
    ("framework", "loss", "classes", "arrays"),
    [("numpy", "nf.NTXent()", 0, 2), ("torch", "nf.SupCon()", 9, 3)],
)
def test_wide_rows(framework, loss, classes, arrays):
    """Rows made ready and their gradient, 16 MiB each; in another order it is one array more."""
    linux_only()
    assert growth(framework, loss, classes, 16_384, features=256) < 16 * arrays + 14


@pytest.mark.long
@pytest.mark.parametrize(
    ("framework", "loss"), [(("numpy", "torch")[k % 2], loss) for k, loss in enumerate(OTHERS)]
)
def test_every_convention(framework, loss):
    linux_only()
    classes = 0 if "NTXent" in loss else 20
    assert growth(framework, loss, classes, 8_192) < 128


@pytest.mark.long
@pytest.mark.parametrize(
    ("framework", "loss"),
    [("numpy", "nf.HCL()"), ("torch", "nf.CLIP()"), ("numpy", "nf.CLIP(temperature=0.01)")],
)
def test_two_inputs_of_sixteen_thousand_rows(framework, loss):
    """32,768 rows are halved; a square of 16,384 takes 1,024 MiB."""
    linux_only()
    assert growth(framework, loss, 0, 32_768) < 64


@pytest.mark.long
@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_supcr(framework):
    """One block of rows against all, sorted; a square takes 64 MiB and each sum another."""
    linux_only()
    assert growth(framework, "nf.SupCR()", 0, 4_096, features=128) < 256


TAPE = """
import numpy as np
import tensorflow as tf
import nearfar as nf

loss = nf.SupCon()
x = tf.constant(np.random.default_rng(0).normal(size=(4096, 128)).astype(np.float32))
labels = np.random.default_rng(1).integers(0, 500, 4096)


def gradient(x, labels):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(x, labels)
    return tape.gradient(value, x)


def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


gradient(x[:8], labels[:8])
with open("/proc/self/clear_refs", "w") as counters:
    counters.write("5")
before = peak()
gradient(x, labels)
print((peak() - before) // 1024)
"""


@pytest.mark.long
def test_an_eager_tape_keeps_no_tiles():
    """A square of 4,096 rows takes 64 MiB, and several would be kept."""
    linux_only()
    pytest.importorskip("tensorflow")
    done = subprocess.run([sys.executable, "-c", TAPE], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64


def test_memory_follows_the_option():
    """Four tile buffers of 16 MiB each must show where a small tile does not."""
    linux_only()
    loss = "nf.SupCon().with_options(tile={})"
    small = growth("numpy", loss.format(128), 10, 2_048)
    large = growth("numpy", loss.format(2_048), 1, 2_048)
    assert small < 16 < large
