"""Counts the instructions that engines take for a frame on emulated 64-bit ARM CPUs.

Called by `cargo xtask bench instructions`, which says what the arguments are. A frame's are the
difference of a run with more frames and one with fewer, so that loading drops out.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys

import networks

# QEMU's CPUs, and the part numbers by which engines choose their kernels.
CPUS = {
    "cortex-a72": ("NEON", "cortex-a72", 0xD08, "fp asimd crc32 cpuid"),
    "cortex-a76": ("dot product", "cortex-a76", 0xD0B, "fp asimd crc32 atomics fphp asimdhp cpuid asimddp"),
    "max": ("i8mm", "max,sve=off,sme=off", 0xD47, "fp asimd crc32 atomics fphp asimdhp cpuid asimddp i8mm bf16"),
}
FEW, MORE = 2, 22
WEIGHT_BITS = 7


def cpuinfo(part, features):
    """What Linux on such a board says: engines read it, and QEMU 7 would give them that of this machine."""
    lines = ["processor\t: 0", f"Features\t: {features}", "CPU implementer\t: 0x41", "CPU architecture: 8",
             "CPU variant\t: 0x0", f"CPU part\t: {part:#x}", "CPU revision\t: 0"]
    return "\n".join(lines) + "\n\n"


def count(args, cpu, engine, path, frames):
    command = [args.emulator, "-cpu", CPUS[cpu][1], "-plugin", args.plugin]
    libraries = os.environ | {"LD_LIBRARY_PATH": str(args.libraries)}
    if engine == "sortline":
        bundle = command[:1] + [args.program, "bundle", f"{path}.onnx", f"{path}.sortline"]
        subprocess.run([str(part) for part in bundle], env=libraries, check=True)
        command += [args.program, f"{path}.sortline", "1"]
    else:
        script = pathlib.Path(__file__).with_name("engines.py")
        python = args.root / "usr/bin/python3.11"
        environment = {"PYTHONHOME": args.root / "usr", "PYTHONPATH": args.root / "wheels", "PYTHONHASHSEED": 0}
        command += ["-L", args.root] + [part for pair in environment.items() for part in ("-E", "=".join(map(str, pair)))]
        command += [python, script, engine, path, str(frames)]
    run = subprocess.run([str(part) for part in command], input=f"{frames}\n", env=libraries, capture_output=True, text=True)
    found = re.search(r"^instructions: (\d+)$", run.stderr, re.MULTILINE)
    if run.returncode or not found:
        raise RuntimeError(run.stderr.strip().splitlines()[-1] if run.stderr.strip() else f"it ended with {run.returncode}")
    return int(found[1])


def frame(args, cpu, engine, path):
    """Millions of instructions for a frame; nothing where the engine cannot run it."""
    try:
        few, more = (count(args, cpu, engine, path, frames) for frames in (FEW, MORE))
    except RuntimeError as error:
        print(f"{engine} cannot run {path.name} on {cpu}: {error}", file=sys.stderr)
        return None
    return (more - few) / (MORE - FEW) / 1e6


def main():
    parser = argparse.ArgumentParser(prog="cargo xtask bench instructions")
    for name in ("folder", "root", "libraries"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    for name in ("emulator", "plugin", "program"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--json", type=pathlib.Path, help="write the counts into FILE")
    parser.add_argument("--network", action="append", choices=networks.NETWORKS, help="these alone")
    parser.add_argument("--precision", action="append", choices=["int8", "f32"], help="int8 where it is not given")
    parser.add_argument("--cpu", action="append", choices=CPUS, help="these alone")
    parser.add_argument("--engine", action="append", choices=["sortline", "litert", "onnxruntime"])
    args = parser.parse_args()
    args.folder /= f"{WEIGHT_BITS}-bit"
    args.folder.mkdir(parents=True, exist_ok=True)
    engines = args.engine or ["sortline", "litert", "onnxruntime"]
    results = []
    for cpu in args.cpu or CPUS:
        (args.root / "proc").mkdir(exist_ok=True)
        (args.root / "proc/cpuinfo").write_text(cpuinfo(*CPUS[cpu][2:]))
        print(f"\n{cpu} ({CPUS[cpu][0]}), one thread: millions of instructions for a frame, not a time")
        print(f"  {'':28}" + "".join(f"{engine:>13}" for engine in engines) + "   ours / least")
        for precision in args.precision or ["int8"]:
            for network in args.network or networks.NETWORKS:
                networks.write(args.folder, network, WEIGHT_BITS)
                found = {engine: frame(args, cpu, engine, args.folder / f"{network}-{precision}") for engine in engines}
                cells = "".join(f"{f'{value:.1f}' if value else '-':>13}" for value in found.values())
                peers = [value for engine, value in found.items() if value and engine != "sortline"]
                own = found.get("sortline")
                print(f"  {f'{network}, {precision}':28}{cells}" + (f"{own / min(peers):15.2f}" if own and peers else ""), flush=True)
                results += [{"network": network, "engine": engine, "precision": precision, "cpu": cpu,
                             "million_instructions": round(value, 3)} for engine, value in found.items() if value]
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
