"""What one run looks at."""

import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch

import nearfar as nf
from benchmarks.gpu.clock import DEVICE, DRY, Run, distance, launches, peak, some, timed, wait
from benchmarks.gpu.contenders import LOSSES, contenders, inputs

HALF, FULL = torch.bfloat16, torch.float32
FOUR = ("NTXent", "CLIP", "SupCon", "SigLIP")


def machine(run: Run) -> dict[str, Any]:
    """Rates of the card, which are the floor: products by dtype, a copy, the host's launch."""
    found: dict[str, Any] = {"torch": torch.__version__, "device": DEVICE}
    if not DRY:
        found["device"] = torch.cuda.get_device_name()
    n = 64 if DRY else 8192
    for dtype, precision in ((FULL, "highest"), (FULL, "high"), (HALF, "highest")):
        torch.set_float32_matmul_precision(precision)
        a, b = (torch.randn(n, n, device=DEVICE, dtype=dtype) for _ in range(2))
        spent, _ = timed(lambda a=a, b=b: a @ b)
        name = "tf32" if precision == "high" else str(dtype).rpartition(".")[2]
        found[f"{name} TFLOP/s"] = round(2 * n**3 / spent / 1e9, 3)
    torch.set_float32_matmul_precision("highest")
    x = torch.empty(2**10 if DRY else 2**28, device=DEVICE)
    y = torch.empty_like(x)
    spent, _ = timed(lambda: y.copy_(x))
    found["copy GB/s"] = round(2 * x.nbytes / spent / 1e6, 3)
    one, start = torch.zeros(1, device=DEVICE), time.perf_counter()
    for _ in range(2000):
        one.add_(1)
    found["us per launch"] = round((time.perf_counter() - start) / 2000 * 1e6, 1)
    run.note(found)
    return found


PROGRAMS = [(name, dtype, d) for d in (128, 512) for dtype in (FULL, HALF) for name in LOSSES]


def compile_all(run: Run) -> int:
    """Every program that is wanted later, by processes side by side, into the cache on disk."""
    if DRY:
        program(0)
        return 1
    todo, busy = list(range(len(PROGRAMS))), []
    while (todo or busy) and not run.over():
        busy = [process for process in busy if process.poll() is None]
        while todo and len(busy) < 14:
            command = [sys.executable, "-m", "benchmarks.gpu", "--program", str(todo.pop(0))]
            busy.append(subprocess.Popen(command))
        time.sleep(0.1)
    for process in busy:
        process.terminate()
    return len(PROGRAMS) - len(todo)


def program(number: int) -> None:
    name, dtype, d = PROGRAMS[number]
    n, d = (16, 16) if DRY else (1024, d)
    LOSSES[name].value_and_grad(*inputs(name, n, d, dtype))


def cases(n: int, d: int, dtype: torch.dtype) -> dict[str, tuple[nf.Loss, tuple[Any, ...]]]:
    """Every rule and switch that the kernels have, and losses that take tiles."""
    a, b = inputs("NTXent", n, d, dtype)
    z, labels = inputs("SupCon", n, d, dtype)
    x, y = inputs("CLIP", n, d, dtype)
    queue = inputs("CLIP", n + 37, d, dtype)[0]
    own = "own_positive"
    t, bias = torch.tensor(0.1, device=DEVICE), torch.tensor(-3.0, device=DEVICE)
    found: dict[str, tuple[nf.Loss, tuple[Any, ...]]] = {
        name: (loss, inputs(name, n, d, dtype)) for name, loss in LOSSES.items()
    }
    return found | {
        "NTXent .01": (nf.NTXent(temperature=0.01), (a, b)),
        "NTXent first": (nf.NTXent(anchors="first"), (a, b)),
        "NTXent squared": (nf.NTXent(similarity="neg_sqeuclidean", temperature=5.0), (a, b)),
        "DCL": (nf.DCL(), (a, b)),
        "HCL .5": (nf.HCL(beta=0.5), (a, b)),
        "SupCon own": (nf.SupCon(denominator=own, average="pairs"), (z, labels)),
        "SupCon own log": (nf.SupCon(denominator=own, positives="log_mean"), (z, labels)),
        "SupCon log_sum": (nf.SupCon(positives="log_sum"), (z, labels)),
        "SupCon self": (nf.SupCon(include_self="positive"), (z, labels)),
        "SupCon dot": (nf.SupCon(similarity="dot", temperature=5.0), (z, labels)),
        "InfoNCE queue": (nf.InfoNCE(), (x, y, queue)),
        "CLIP learned": (nf.CLIP(), (x, y, {"temperature": t})),
        "SigLIP learned": (nf.SigLIP(), (x, y, {"temperature": t, "bias": bias})),
        **{
            f"{name}, tiles": (found[name][0].with_options(kernel="tiles"), found[name][1])
            for name in FOUR
        },
        "CLIP learned, tiles": (
            nf.CLIP().with_options(kernel="tiles"), (x, y, {"temperature": t}),
        ),
        "HCL learned, tiles": (
            nf.HCL().with_options(kernel="tiles"), (a, b, {"temperature": t}),
        ),
        "SupCon learned, tiles": (
            nf.SupCon().with_options(kernel="tiles"), (z, labels, {"temperature": t}),
        ),
        "SupCon learned": (nf.SupCon(), (z, labels, {"temperature": t})),
        "SupCon host labels": (nf.SupCon(), (z, labels.cpu())),
        "SupCon host labels, tiles": (nf.SupCon().with_options(kernel="tiles"), (z, labels.cpu())),
        "SupCon euclidean": (nf.SupCon(similarity="neg_euclidean"), (z, labels)),
        "SupCR": (nf.SupCR(), (z, z[:, 0].float())),
        "BatchTriplet": (nf.BatchTriplet(mining="hard"), (z, labels)),
        "MultiSimilarity": (nf.MultiSimilarity(mining=0.1), (z, labels)),
        "Circle": (nf.Circle(), (z, labels)),
        "SmoothAP": (nf.SmoothAP(temperature=0.1), (z, labels)),
        "CLIP ids": (nf.CLIP(), (x, y, {"ids": torch.arange(n, device=DEVICE) // 2})),
    }  # fmt: skip


def correct(run: Run) -> dict[str, Any]:
    """Against float64 in tiles on the CPU; the same bits twice; waits for the device. All of it as
    a training script has it, with products of float32 rounded to TF32 where nobody forbids it."""
    found: dict[str, Any] = {}
    sizes = [(16, 16)] if DRY else [(1030, 128), (530, 512)]
    torch.set_float32_matmul_precision("high")
    try:
        for n, d in sizes:
            for dtype in (FULL, HALF):
                for name, (loss, given) in some(list(cases(n, d, dtype).items())):
                    if run.over():
                        return found
                    key = f"{name} {n} x {d} {str(dtype)[6:]}"
                    try:
                        found[key] = {"dtype": str(dtype)[6:]} | _compared(loss, given)
                    except Exception as problem:
                        found[key] = {"failed": repr(problem)[:300]}
                    run.note(key, found[key])
                    run.found["correct, so far"] = found
    finally:
        torch.set_float32_matmul_precision("highest")
    return found


def _compared(loss: nf.Loss, given: tuple[Any, ...]) -> dict[str, Any]:
    named = given[-1] if isinstance(given[-1], dict) else {}
    arrays = given[:-1] if named else given
    value, slopes = loss.with_options(kernel="tiles").value_and_grad(
        *map(_wide, arrays), **{k: _wide(v) for k, v in named.items()}
    )
    one = loss.value_and_grad(*arrays, **named)
    two = loss.value_and_grad(*arrays, **named)
    pairs = list(zip(one[1], slopes, strict=True))
    rounded = [float((x.cpu() == y.to(x.dtype)).float().mean()) for x, y in pairs]
    row: dict[str, Any] = {
        "value": abs(one[0].item() - value.item()) / max(abs(value.item()), 1e-30),
        "gradient": max(distance(x, y) for x, y in pairs),
        "rounded exactly": min(rounded[: len({*loss.embeddings} - {*loss.optional})]),
        "same bits": all(
            torch.equal(x, y) for x, y in zip((one[0], *one[1]), (two[0], *two[1]), strict=True)
        ),
        "kernel": nf.kernels.fits(loss, *arrays, **named)[1],
    }
    if not DRY:
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                loss.value_and_grad(*arrays, **named)
            row["waits"] = sum("synchroniz" in str(w.message) for w in caught)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return row


def _wide(x: torch.Tensor) -> torch.Tensor:
    return x.double().cpu() if x.is_floating_point() else x.cpu()


def streams_and_graphs(run: Run) -> dict[str, Any]:
    """Two streams at once, twenty times; capture and replay with other rows; compiled programs."""
    found: dict[str, Any] = {}
    work: list[tuple[str, Callable[[], dict[str, Any]]]] = [("two streams", _two_streams)]
    for name, (loss, given) in _captured_calls().items():
        work.append((f"graph {name}", lambda loss=loss, given=given: _captured(loss, given)))
    for mode in ("default", "reduce-overhead"):
        work.append((f"compile {mode}", lambda mode=mode: _compiled(mode)))
    for name, call in some(work[:-2]) if DRY else work:
        if run.over():
            return found
        try:
            found[name] = call()
        except Exception as problem:
            found[name] = {"right": False, "failed": repr(problem)[:300]}
        run.note(name, found[name])
        run.found["streams and graphs, so far"] = found
    return found


def _two_streams() -> dict[str, Any]:
    """A call on one stream must not take memory that the other stream's still reads."""
    loss, wrong = nf.NTXent(), 0
    n, tries = (16, 1) if DRY else (8192, 20)
    big, small = (inputs("NTXent", n, 16 if DRY else 256, FULL) for _ in range(2))
    wanted = [loss.value_and_grad(*x)[0].item() for x in (big, small)]
    first, second = (nullcontext(), nullcontext()) if DRY else (_stream(), _stream())
    wait()
    for _ in range(tries):
        with first:
            if not DRY:
                torch.cuda._sleep(20_000_000)
            u, _ = loss.value_and_grad(*big)
        with second:
            v, _ = loss.value_and_grad(*small)
        wait()
        wrong += [u.item(), v.item()] != wanted
    return {"right": not wrong, "wrong": wrong, "of": tries}


def _stream() -> Any:
    return torch.cuda.stream(torch.cuda.Stream())


def _captured_calls() -> dict[str, tuple[nf.Loss, tuple[torch.Tensor, ...]]]:
    n, d = (16, 16) if DRY else (1024, 128)
    found = {name: (loss, inputs(name, n, d, HALF)) for name, loss in LOSSES.items()}
    z, labels = inputs("SupCon", n, d, FULL)
    return found | {
        "NTXent, tiles": (nf.NTXent().with_options(kernel="tiles"), inputs("NTXent", n, d, FULL)),
        "SupCR": (nf.SupCR(), (z, z[:, 0].clone())),
        "BatchTriplet": (nf.BatchTriplet(), (z, labels)),
        "MultiSimilarity": (nf.MultiSimilarity(mining=0.1), (z, labels)),
    }


def _captured(loss: nf.Loss, given: tuple[torch.Tensor, ...]) -> dict[str, Any]:
    if DRY:
        loss.value_and_grad(*given)
        return {"right": True}
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            loss.value_and_grad(*given)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value, slopes = loss.value_and_grad(*given)
    given[0].copy_(torch.randn_like(given[0]))
    graph.replay()
    wait()
    again, others = loss.value_and_grad(*given)
    worst = max(distance(x, y) for x, y in zip(slopes, others, strict=True))
    off = abs(value.item() - again.item()) / max(abs(again.item()), 1e-30)
    spent, _ = timed(graph.replay)
    return {"right": off < 1e-6 and worst < 1e-5, "value": off, "gradient": worst, "ms": spent}


def _compiled(mode: str) -> dict[str, Any]:
    loss = nf.CLIP()
    given = inputs("CLIP", 512, 128, FULL)
    leaves = [x.clone().requires_grad_() for x in given]
    step = torch.compile(lambda x, y: loss(x * 2, y), mode=mode)
    for _ in range(3):
        for x in leaves:
            x.grad = None
        value = step(*leaves)
        value.backward()
    wanted, slopes = loss.value_and_grad(given[0] * 2, given[1])
    off = abs(value.item() - wanted.item())
    worst = max(distance(leaves[0].grad, 2 * slopes[0]), distance(leaves[1].grad, slopes[1]))
    return {"right": off < 1e-5 and worst < 1e-5, "value": off, "gradient": worst}


Size = tuple[str, int, int, torch.dtype]


def _rows(run: Run, section: str, sizes: list[Size]) -> list[dict[str, Any]]:
    """`section` keeps what there is where the time ends within."""
    found: list[dict[str, Any]] = []
    for name, n, d, dtype in some(sizes):
        n, d = (16, 16) if DRY else (n, d)
        given = inputs(name, n, d, dtype)
        for who, call in contenders(name, given, tiles=n <= 16_384).items():
            if run.over():
                return found
            row: dict[str, Any] = {"loss": name, "n": n, "d": d, "dtype": str(dtype)[6:]}
            row["who"] = who
            try:
                row["ms"], row["host ms"] = timed(call)
                row["MiB"] = peak(call)
                row["result MiB"] = sum(x.nbytes for x in given if x.is_floating_point()) / 2**20
                if who.startswith("nearfar") and n in (256, 4096):
                    row["launches"] = launches(call)
            except Exception as problem:
                row["failed"] = repr(problem)[:160]
                if not DRY:
                    torch.cuda.empty_cache()
            found.append(row)
            run.note(*(f"{x:.3f}" if isinstance(x, float) else x for x in row.values()))
        run.found[f"{section}, so far"] = found
    return found


def goals(run: Run) -> list[dict[str, Any]]:
    """The sizes that the goals speak of."""
    return _rows(
        run,
        "goals",
        [
            ("CLIP", 65_536, 512, HALF), ("SigLIP", 65_536, 512, HALF),
            ("CLIP", 65_536, 128, HALF), ("SigLIP", 65_536, 128, HALF),
            ("NTXent", 65_536, 128, HALF), ("SupCon", 65_536, 128, HALF),
            *((name, 4096, 128, t) for t in (FULL, HALF) for name in FOUR),
            *((name, 256, 128, t) for t in (FULL, HALF) for name in LOSSES),
            *((name, 1024, 128, t) for t in (FULL, HALF) for name in FOUR),
            ("NTXent", 65_536, 128, FULL), ("CLIP", 65_536, 128, FULL),
        ],
    )  # fmt: skip


def times(run: Run) -> list[dict[str, Any]]:
    """The sizes between."""
    sizes = ((16_384, 128), (16_384, 512), (4096, 512), (16_384, 768), (1024, 512))
    return _rows(
        run,
        "times",
        [(name, n, d, t) for n, d in sizes for t in (FULL, HALF) for name in FOUR]
        + [("CLIP", 65_536, 768, HALF), ("SigLIP", 65_536, 768, HALF)],
    )


def blocks(run: Run) -> list[Any]:
    """Other shapes of the tiles, NT-Xent and SigLIP at 32,768 rows of 128."""
    from nearfar.frameworks.triton import partition
    from nearfar.frameworks.triton.problem import Shape

    chosen, found = partition.shapes_for, []
    half = [(64, 128, 128, 4, 2), (64, 128, 128, 4, 3), (128, 128, 128, 8, 2), (64, 64, 128, 4, 3)]
    full = [(128, 32, 128, 8, 2), (128, 64, 128, 8, 1), (64, 32, 128, 4, 2), (64, 64, 128, 4, 1)]
    for dtype, shapes in ((HALF, half), (FULL, full)):
        for name, field in (("NTXent", "pull"), ("SigLIP", "each")):
            given = inputs(name, 16 if DRY else 32_768, 16 if DRY else 128, dtype)
            for shape in [(16, 16, 16, 4, 2)] if DRY else shapes:
                if run.over():
                    return found
                other = {field: Shape(*shape)}
                partition.shapes_for = lambda *a, other=other: chosen(*a)._replace(**other)
                try:
                    spent, _ = timed(lambda: LOSSES[name].value_and_grad(*given), 0.1)  # noqa: B023
                except Exception as problem:
                    spent = repr(problem)[:120]
                finally:
                    partition.shapes_for = chosen
                found.append((name, str(dtype)[6:], field, shape, spent))
                run.note(*found[-1])
    return found


def largest(run: Run) -> list[Any]:
    """NT-Xent of a quarter of a million and of a million rows."""
    found = []
    for n in (32,) if DRY else (262_144, 1_048_576):
        if run.over():
            break
        given = inputs("NTXent", n, 16 if DRY else 128, HALF)
        start = time.perf_counter()
        used = peak(lambda: nf.NTXent().value_and_grad(*given))  # noqa: B023
        found.append({"rows": n, "seconds": time.perf_counter() - start, "MiB": used})
        run.note(found[-1])
    return found
