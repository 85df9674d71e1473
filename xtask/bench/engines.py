"""The engines that ours is compared with. Each gives a function that computes one frame.

Usage: engines.py ENGINE PATH RUNS: computes so many frames of PATH.onnx or PATH.tflite on one
thread and prints the milliseconds that loading and the first frame took, and the MB that this process had
used at most before. It ends when its input does.

Nothing but numpy and the engine is imported: it also runs on an emulated board.
"""

import pathlib
import sys
import time

import numpy as np


def image(seed):
    """Blotches, as a photo has them, normalised."""
    coarse = np.random.default_rng(seed).normal(0, 1, (1, 3, 14, 14))
    return np.kron(coarse, np.ones((1, 1, 16, 16))).astype(np.float32)


def onnxruntime(path, threads, image):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(f"{path}.onnx", options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"image": image})[0]


def litert(path, threads, image):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(f"{path}.tflite", num_threads=threads)
    interpreter.allocate_tensors()
    channels_last = np.ascontiguousarray(image.transpose(0, 2, 3, 1))
    end, start = interpreter.get_output_details()[0]["index"], interpreter.get_input_details()[0]["index"]

    def run():
        interpreter.set_tensor(start, channels_last)
        interpreter.invoke()
        return interpreter.get_tensor(end).reshape(1, -1)

    return run


def openvino(path, threads, image):
    import openvino

    config = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(f"{path}.onnx", "CPU", config).create_infer_request()
    return lambda: request.infer([image])[0]


def ncnn(path, threads, image):
    import ncnn

    if path.name.endswith("int8"):
        raise ValueError("it quantizes otherwise, and runs no other quantized network")
    net = ncnn.Net()
    net.opt.num_threads = threads
    if net.load_param(f"{path}.ncnn.param") or net.load_model(f"{path}.ncnn.bin"):
        raise ValueError("it cannot be loaded")
    start, end = net.input_names()[0], net.output_names()[0]

    def run():
        extractor = net.create_extractor()
        extractor.input(start, ncnn.Mat(image[0]))
        return np.array(extractor.extract(end)[1]).reshape(1, -1)

    return run


ENGINES = {"onnxruntime": onnxruntime, "litert": litert, "openvino": openvino, "ncnn": ncnn}


def peak_mb():
    with open("/proc/self/status") as status:
        return next((int(line.split()[1]) / 1e3 for line in status if line.startswith("VmHWM:")), 0.0)


def main():
    engine, path, runs = sys.argv[1:]
    pixels = image(9)
    __import__({"litert": "ai_edge_litert.interpreter"}.get(engine, engine))
    idle = peak_mb()
    times = [time.perf_counter()]
    run = ENGINES[engine](pathlib.Path(path), 1, pixels)
    for _ in range(int(runs)):
        times.append(time.perf_counter())
        run()
    times.append(time.perf_counter())
    print(*(f"{1e3 * (end - start):.2f}" for start, end in zip(times[:2], times[1:3])), idle, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
