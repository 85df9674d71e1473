"""Times networks in our engine and in others, alternately, and prints how they compare.

Called by `cargo xtask bench inference`, which says what the arguments are.
"""

import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import numpy as np

import networks

# Millions of multiply-accumulates at 224 pixels.
MACS = {"mobilenet-v2": 300.8, "efficientnet-lite0": 385.8, "efficientnet-b0": 387.0, "resnet50": 4089.2}


class Sortline:
    """Our engine, in a process of its own."""

    def __init__(self, path, threads):
        command = [Sortline.program, f"{path}.onnx", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def times(self, runs):
        print(runs, file=self.process.stdin, flush=True)
        numbers = [float(ms) for ms in self.process.stdout.readline().split()]
        return list(zip(numbers[::2], numbers[1::2]))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Peer:
    """An engine in this process; `run` computes one frame."""

    def times(self, runs):
        found = []
        for _ in range(runs):
            start, cpu = time.perf_counter(), time.process_time()
            self.run()
            found.append(((time.perf_counter() - start) * 1e3, (time.process_time() - cpu) * 1e3))
        return found

    def close(self):
        pass


class OnnxRuntime(Peer):
    def __init__(self, path, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(f"{path}.onnx", options, providers=["CPUExecutionProvider"])
        self.run = lambda: session.run(None, {"image": IMAGE})


class LiteRt(Peer):
    def __init__(self, path, threads):
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(f"{path}.tflite", num_threads=threads)
        interpreter.allocate_tensors()
        channels_last = np.ascontiguousarray(IMAGE.transpose(0, 2, 3, 1))
        end, start = interpreter.get_output_details()[0]["index"], interpreter.get_input_details()[0]["index"]

        def run():
            interpreter.set_tensor(start, channels_last)
            interpreter.invoke()
            return [interpreter.get_tensor(end).reshape(1, -1)]

        self.run = run


class OpenVino(Peer):
    def __init__(self, path, threads):
        import openvino

        config = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        model = openvino.Core().compile_model(f"{path}.onnx", "CPU", config)
        request = model.create_infer_request()
        self.run = lambda: [request.infer([IMAGE])[0]]


IMAGE = networks.image(9)
ENGINES = {"sortline": Sortline, "onnxruntime": OnnxRuntime, "litert": LiteRt, "openvino": OpenVino}


def weight_bits():
    """Bits of a weight that no engine's sums saturate with: without VNNI, those of ONNX Runtime and OpenVINO do with 8."""
    try:
        flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    except OSError:
        flags = []
    return 8 if {"avx512_vnni", "avx_vnni"} & set(flags) else 7


def load(name, path, threads):
    try:
        return ENGINES[name](path, threads)
    except (ImportError, RuntimeError, ValueError, OSError) as error:
        print(f"{name} cannot run {path.name}: {str(error).splitlines()[0]}", file=sys.stderr)
        return None


def measure(path, threads, seconds, engines):
    """Milliseconds of every run of each engine, by the clock and on the CPU; they take turns of several runs."""
    loaded = {name: load(name, path, threads) for name in engines}
    loaded = {name: engine for name, engine in loaded.items() if engine}
    runs = {name: max(1, round(40 / min(engine.times(3))[0])) for name, engine in loaded.items()}
    times = {name: [] for name in loaded}
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(times["sortline"]) < 3:
        for name, engine in loaded.items():
            # The others' threads, which wait for work in a loop, come to rest; the first run after that is warming up.
            time.sleep(0.01)
            times[name] += engine.times(runs[name] + 1)[1:]
    for engine in loaded.values():
        engine.close()
    return times


def rows(network, precision, threads, times):
    for engine, pairs in times.items():
        ms, cpu = zip(*pairs)
        tenths = statistics.quantiles(ms, n=10, method="inclusive")
        row = {"network": network, "engine": engine, "precision": precision, "threads": threads,
               "median_ms": statistics.median(ms), "min_ms": min(ms), "p10_ms": tenths[0], "p90_ms": tenths[-1],
               "cpu_ms": statistics.median(cpu)}
        yield {name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()} | {"runs": len(ms)}


def ratio(own, peers, field):
    """How our time compares with the least of the peers'."""
    best = min(peers, key=lambda row: row[field])
    return f"{own[field] / best[field]:.2f} x {best['engine']}"


def table(results, peaks):
    """One line an engine for each network, precision and number of threads."""
    for key in dict.fromkeys((r["precision"], r["threads"]) for r in results):
        print(f"\n{key[0]}, threads: {key[1]}\n  milliseconds per image" + " " * 18
              + "median    min     10% to 90%     CPU median")
        for network in dict.fromkeys(r["network"] for r in results):
            here = [r for r in results if (r["precision"], r["threads"]) == key and r["network"] == network]
            for row in here:
                print("  {network:20}{engine:18}{median_ms:8.2f}{min_ms:8.2f}{p10_ms:8.2f} to {p90_ms:7.2f}"
                      "{cpu_ms:10.2f}".format(**row))
            own, peers = here[0], here[1:]
            if peers:
                print("    median {}, fastest run {}".format(*(ratio(own, peers, f) for f in ("median_ms", "min_ms"))))
                # Of several threads ours is counted for the first alone, the others' with their waiting.
                if key[1] == 1:
                    print(f"    CPU {ratio(own, peers, 'cpu_ms')}")
            # Of products alone, whatever loads and stores they need.
            share = MACS[network] * 1e9 / own["min_ms"] / (peaks[key[0]] * key[1])
            print(f"    {share:.0%} of the {key[0]} peak")


def main():
    parser = argparse.ArgumentParser(prog="cargo xtask bench inference")
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--program", required=True)
    parser.add_argument("--json", type=pathlib.Path, help="write the measurements into FILE")
    parser.add_argument("--quick", action="store_true", help="one thread, less than 3 minutes")
    parser.add_argument("--threads", type=int, action="append", help="instead of 1 and then 2; may be repeated")
    parser.add_argument("--network", action="append", choices=networks.NETWORKS, help="these alone")
    parser.add_argument("--precision", action="append", choices=["int8", "f32"])
    parser.add_argument("--weight-bits", type=int, choices=[7, 8], default=weight_bits(),
                        help="of the int8 networks; 8 unless some engine's sums saturate with that on this CPU")
    parser.add_argument("--engine", action="append", choices=[e for e in ENGINES if e != "sortline"])
    parser.add_argument("--seconds", type=float, help="for each network")
    args = parser.parse_args()
    Sortline.program = args.program
    args.folder /= f"{args.weight_bits}-bit"
    args.folder.mkdir(parents=True, exist_ok=True)
    for network in args.network or networks.NETWORKS:
        networks.write(args.folder, network, args.weight_bits)
    seconds = args.seconds or (8 if args.quick else 25)
    engines = ["sortline"] + (args.engine or [e for e in ENGINES if e != "sortline"])
    peak = float(subprocess.run([args.program, "peak"], check=True, capture_output=True, text=True).stdout)
    print(f"{platform.processor() or platform.machine()}: {peak / 1e9:.1f} thousand million 8-bit multiply-accumulates per second and thread at best; int8 weights of {args.weight_bits} bits\n")
    results = []
    for threads in args.threads or ([1] if args.quick else [1, 2]):
        for precision in args.precision or ["int8", "f32"]:
            for network in args.network or networks.NETWORKS:
                print(f"{network}, {precision}, {threads} threads", file=sys.stderr)
                times = measure(args.folder / f"{network}-{precision}", threads, seconds, engines)
                results += rows(network, precision, threads, times)
    f32 = float(subprocess.run([args.program, "peak", "f32"], check=True, capture_output=True, text=True).stdout)
    table(results, {"int8": peak, "f32": f32})
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
