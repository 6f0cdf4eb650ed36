"""Correctness, time and memory on a GPU, in one run of at most eight minutes.

    python -m benchmarks.gpu [--seconds 480] [--out gpu.json]

Every section has a budget and cannot end the run; the JSON is written after each. Peers are
measured where they are installed: memeff 0.3.1, inf-cl 1.2.1, siglip-kernel 0.1.2. Without a GPU it
says so.
`DRY=1 TRITON_INTERPRET=1` runs the same statements at tiny sizes on the CPU, to find slips.
"""
