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

import engines
import networks

# Millions of multiply-accumulates at 224 pixels.
MACS = {"mobilenet-v2": 300.8, "efficientnet-lite0": 385.8, "efficientnet-b0": 387.0, "resnet50": 4089.2}


class Sortline:
    """Our engine, in a process of its own."""

    def __init__(self, path, threads):
        command = [Sortline.program, f"{path}.sortline", str(threads)]
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
    """An engine in this process."""

    def __init__(self, engine, path, threads):
        self.run = engines.ENGINES[engine](path, threads, IMAGE)

    def times(self, runs):
        found = []
        for _ in range(runs):
            start, cpu = time.perf_counter(), time.process_time()
            self.run()
            found.append(((time.perf_counter() - start) * 1e3, (time.process_time() - cpu) * 1e3))
        return found

    def close(self):
        pass


IMAGE = engines.image(9)
PEERS = list(engines.ENGINES)


def weight_bits():
    """Bits of a weight that no engine's sums saturate with: without VNNI, those of ONNX Runtime and OpenVINO do with 8."""
    try:
        flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    except OSError:
        flags = []
    return 8 if {"avx512_vnni", "avx_vnni"} & set(flags) else 7


def load(name, path, threads):
    try:
        return Sortline(path, threads) if name == "sortline" else Peer(name, path, threads)
    except (ImportError, RuntimeError, ValueError, OSError) as error:
        print(f"{name} cannot run {path.name}: {str(error).splitlines()[0]}", file=sys.stderr)
        return None


def measure(path, threads, seconds, names):
    """Milliseconds of every run of each engine, by the clock and on the CPU; they take turns of several runs."""
    loaded = {name: load(name, path, threads) for name in names}
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


def cold_start(engine, path, program):
    """From the start of a process to its first verdict in milliseconds, from its start to load on, and peak memory in MB."""
    command = [sys.executable, pathlib.Path(engines.__file__), engine, path, "1"]
    if engine == "sortline":
        command = [program, f"{path}.sortline", "1"]
    start = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        print(1, file=process.stdin, flush=True)
        numbers = process.stdout.readline().split()
        if engine == "sortline":
            numbers.insert(1, process.stdout.readline().split()[0])
        whole = (time.perf_counter() - start) * 1e3
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        process.stdin.close()
    return {"cold_start_ms": float(numbers[0]) + float(numbers[1]), "process_ms": whole,
            "peak_mb": int(status.split("VmHWM:")[1].split()[0]) / 1e3, "idle_mb": float(numbers[2])}


def cold_starts(results, args):
    """Measures processes that load a network and compute one frame; prints a table, and adds to the results on one thread.
    Engines take turns, a process each."""
    count = 7
    names = ["sortline", "litert"] if args.quick else ["sortline"] + PEERS
    print(f"\nfrom the file to the first verdict, one thread, medians of {count}\n" + " " * 43
          + "load and first frame  with the process's start   peak memory   without the idle process")
    measured = [row for row in results if row["threads"] == 1 and row["engine"] in names]
    runs = {}
    for key in dict.fromkeys((row["network"], row["precision"]) for row in measured):
        path = args.folder / "-".join(key)
        here = [row["engine"] for row in measured if (row["network"], row["precision"]) == key]
        for engine in here * count:
            runs.setdefault((*key, engine), []).append(cold_start(engine, path, args.program))
    for row in measured:
        starts = runs[row["network"], row["precision"], row["engine"]]
        found = {name: round(statistics.median(start[name] for start in starts), 2) for name in starts[0]}
        row |= found
        print("  {network:20}{precision:6}{engine:18}{cold_start_ms:16.1f} ms{process_ms:22.1f} ms{peak_mb:11.1f} MB".format(**row)
              + f"{found['peak_mb'] - found['idle_mb']:22.1f} MB")


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
    parser.add_argument("--engine", action="append", choices=PEERS)
    parser.add_argument("--seconds", type=float, help="for each network")
    args = parser.parse_args()
    Sortline.program = args.program
    args.folder /= f"{args.weight_bits}-bit"
    args.folder.mkdir(parents=True, exist_ok=True)
    for network in args.network or networks.NETWORKS:
        networks.write(args.folder, network, args.weight_bits)
        for path in (args.folder / f"{network}-{precision}" for precision in ("int8", "f32")):
            subprocess.run([args.program, "bundle", f"{path}.onnx", f"{path}.sortline"], check=True)
    seconds = args.seconds or (8 if args.quick else 25)
    names = ["sortline"] + (args.engine or PEERS)
    peak = float(subprocess.run([args.program, "peak"], check=True, capture_output=True, text=True).stdout)
    print(f"{platform.processor() or platform.machine()}: {peak / 1e9:.1f} thousand million 8-bit multiply-accumulates per second and thread at best; int8 weights of {args.weight_bits} bits\n")
    results = []
    for threads in args.threads or ([1] if args.quick else [1, 2]):
        for precision in args.precision or ["int8", "f32"]:
            for network in args.network or networks.NETWORKS:
                print(f"{network}, {precision}, {threads} threads", file=sys.stderr)
                times = measure(args.folder / f"{network}-{precision}", threads, seconds, names)
                results += rows(network, precision, threads, times)
    f32 = float(subprocess.run([args.program, "peak", "f32"], check=True, capture_output=True, text=True).stdout)
    table(results, {"int8": peak, "f32": f32})
    cold_starts(results, args)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
