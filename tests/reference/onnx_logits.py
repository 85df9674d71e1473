"""Runs an ONNX classifier in ONNX Runtime on inputs that `host-train evaluate --tensors` wrote.

Usage: onnx_logits.py MODEL.onnx INPUTS.npy LOGITS.csv
Writes one row of logits a photo, in the order of the inputs.
"""

import sys

import numpy
import onnx
import onnxruntime


def main(model, inputs, logits):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    photos = numpy.load(inputs, mmap_mode="r")
    rows = [session.run(None, {"image": photo[None]})[0][0] for photo in photos]
    numpy.savetxt(logits, rows, delimiter=",", fmt="%.9g")


if __name__ == "__main__":
    main(*sys.argv[1:])
