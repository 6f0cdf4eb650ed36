"""Compiles for a GPU where there is none, and reads what the compiler made."""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

_TYPES = {
    torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16", torch.int64: "i64",
    torch.int32: "i32", torch.uint8: "u8", torch.float64: "fp64",
}  # fmt: skip
TARGETS = {
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_80": GPUTarget("cuda", 80, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}


class Launch(NamedTuple):
    kernel: Any
    arguments: tuple[Any, ...]
    constants: tuple[Any, ...]
    warps: int
    stages: int

    @property
    def name(self) -> str:
        return self.kernel.fn.__name__


class Recorder:
    """Stands where a `Launcher` does, and notes what it is asked to launch."""

    def __init__(self) -> None:
        self.launches: list[Launch] = []

    def __call__(
        self,
        kernel: Any,
        grid: Any,
        arguments: Any,
        constants: Any,
        warps: int,
        stages: int,
        *more: Any,
    ) -> None:
        self.launches.append(Launch(kernel, arguments, constants, warps, stages))


def _kind(value: Any, annotation: Any) -> tuple[str, bool]:
    """Its type as Triton spells it, and whether Triton knows that 16 divides it."""
    if isinstance(value, torch.Tensor):
        return f"*{_TYPES[value.dtype]}", True
    if isinstance(value, float):
        return "fp32", False
    return ("i64" if "int64" in str(annotation) else "i32"), value % 16 == 0


def source(launch: Launch) -> Any:
    """What Triton is asked to compile."""
    kernel = launch.kernel
    names = kernel.arg_names
    values = (*launch.arguments, *launch.constants)
    assert len(names) == len(values), (launch.name, len(names), len(values))
    signature, constants, attributes = {}, {}, {}
    fixed = set(kernel.do_not_specialize or ())
    for i, (name, value, parameter) in enumerate(zip(names, values, kernel.params, strict=True)):
        if parameter.is_constexpr:
            signature[name], constants[(i,)] = "constexpr", value
        elif (
            isinstance(value, int) and value == 1 and name not in fixed and not parameter.annotation
        ):
            signature[name], constants[(i,)] = "constexpr", 1
        else:
            signature[name], divisible = _kind(value, parameter.annotation)
            if divisible and name not in fixed:
                attributes[(i,)] = [["tt.divisibility", 16]]
    return ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)


def compiled(launch: Launch, target: str) -> Any:
    stages = launch.stages if target != "gfx942" else min(launch.stages, 2)
    return triton.compile(
        source(launch),
        target=TARGETS[target],
        options={"num_warps": launch.warps, "num_stages": stages, "enable_fp_fusion": True},
    )


def resources(program: Any) -> dict[str, int]:
    """Registers a thread, bytes of stack (spilled) and shared memory, from the machine code."""
    found = {"SHARED": program.metadata.shared}
    if "cubin" not in program.asm:
        text = program.asm["amdgcn"]
        found["STACK"] = int(re.findall(r"\.private_segment_fixed_size:\s+(\d+)", text)[0])
        found["REG"] = int(re.findall(r"\.vgpr_count:\s+(\d+)", text)[0])
        return found
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "program.cubin"
        file.write_bytes(program.asm["cubin"])
        text = subprocess.run(
            [tool, "-res-usage", file], capture_output=True, text=True, check=True
        )
        found |= {k: int(v) for k, v in re.findall(r"(REG|STACK):(\d+)", text.stdout + text.stderr)}
        code = subprocess.run(
            [tool, "-sass", file], capture_output=True, text=True, check=True
        ).stdout
    for name in ("HGMMA", "HMMA", "F2F", "MUFU.EX2", "LDL", "STL"):
        found[name] = len(re.findall(rf"\b{re.escape(name)}\b", code))
    return found
