"""The networks that `cargo xtask bench inference` times, as ONNX and as LiteRT's flatbuffers.

Usage: networks.py FOLDER BITS
Writes NAME-f32.onnx, NAME-int8.onnx, the same as .tflite, and NAME-f32.ncnn.param with its .bin, unless they are there.

Weights are random: time does not depend on them. Batch norms are folded already. All paddings are
TensorFlow's SAME, which every engine can express. ONNX Runtime's own quantizer makes the int8 ONNX
(QDQ, u8 activations, i8 weights of 7 or 8 bits with a scale per channel).
"""

import importlib.util
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import engines
import flatbuffer

SIZE = 224
CLASSES = 1000


class Builder:
    """An ONNX graph that grows; `size` is that of the image where it grows."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.constants = [], []
        self.size = SIZE

    def add(self, op, inputs, **attributes):
        output = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, value):
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def same(self, kernel, stride):
        outputs = -(-self.size // stride)
        total = max((outputs - 1) * stride + kernel - self.size, 0)
        self.size = outputs
        before, after = total // 2, total - total // 2
        return {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [before] * 2 + [after] * 2}

    def conv(self, x, inputs, outputs, kernel, stride=1, groups=1, act=None, gain=1.0):
        fan = inputs // groups * kernel * kernel
        gain *= 2.0 if act else 1.0
        weights = self.random.normal(0, (gain / fan) ** 0.5, (outputs, inputs // groups, kernel, kernel))
        bias = self.random.normal(0, 0.1, outputs)
        window = {"kernel_shape": [1, 1]} if kernel == 1 and stride == 1 else self.same(kernel, stride)
        x = self.add("Conv", [x, self.constant(weights), self.constant(bias)], group=groups, **window)
        return self.activation(x, act)

    def activation(self, x, act):
        if act == "relu":
            return self.add("Relu", [x])
        if act == "relu6":
            return self.add("Clip", [x, self.constant(0), self.constant(6)])
        if act == "silu":
            return self.add("Mul", [x, self.add("Sigmoid", [x])])
        return x

    def model(self, x, channels):
        x = self.add("Flatten", [self.add("GlobalAveragePool", [x])])
        weights = self.random.normal(0, 3 * channels**-0.5, (CLASSES, channels))
        bias = self.constant(np.zeros(CLASSES))
        self.nodes.append(helper.make_node("Gemm", [x, self.constant(weights), bias], ["logits"], "logits", transB=1))
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])
        graph = helper.make_graph(self.nodes, "network", [image], [logits], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def inverted_residuals(stages, first, last, act, squeeze):
    """MobileNetV2 and EfficientNet; a stage: expansion, channels, repeats, stride, kernel."""
    b = Builder(7)
    channels = first
    x = b.conv("image", 3, channels, 3, 2, act=act)
    for expansion, outputs, repeats, stride, kernel in stages:
        for index in range(repeats):
            y, inner, step = x, channels * expansion, stride if index == 0 else 1
            if expansion > 1:
                y = b.conv(y, channels, inner, 1, act=act)
            y = b.conv(y, inner, inner, kernel, step, groups=inner, act=act)
            if squeeze:
                few = max(1, channels // 4)
                s = b.conv(b.add("GlobalAveragePool", [y]), inner, few, 1, act=act)
                y = b.add("Mul", [y, b.add("Sigmoid", [b.conv(s, few, inner, 1)])])
            y = b.conv(y, inner, outputs, 1)
            x = b.add("Add", [x, y]) if step == 1 and channels == outputs else y
            channels = outputs
    x = b.conv(x, channels, last, 1, act=act)
    return b.model(x, last)


def resnet50():
    b = Builder(7)
    x = b.conv("image", 3, 64, 7, 2, act="relu")
    x = b.add("MaxPool", [x], **b.same(3, 2))
    inputs = 64
    for channels, repeats, stride in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]:
        for index in range(repeats):
            step, size = stride if index == 0 else 1, b.size
            y = b.conv(x, inputs, channels, 1, act="relu")
            y = b.conv(y, channels, channels, 3, step, act="relu")
            y = b.conv(y, channels, 4 * channels, 1, gain=0.3)
            if index == 0:
                b.size = size
                x = b.conv(x, inputs, 4 * channels, 1, step)
            x = b.activation(b.add("Add", [x, y]), "relu")
            inputs = 4 * channels
    return b.model(x, 2048)


MOBILENET_V2 = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3), (6, 96, 3, 1, 3),
                (6, 160, 3, 2, 3), (6, 320, 1, 1, 3)]
EFFICIENTNET = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5),
                (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)]
NETWORKS = {
    "mobilenet-v2": lambda: inverted_residuals(MOBILENET_V2, 32, 1280, "relu6", False),
    "efficientnet-lite0": lambda: inverted_residuals(EFFICIENTNET, 32, 1280, "relu6", False),
    "efficientnet-b0": lambda: inverted_residuals(EFFICIENTNET, 32, 1280, "silu", True),
    "resnet50": resnet50,
}


class Images(CalibrationDataReader):
    def __init__(self):
        self.rest = [{"image": engines.image(seed)} for seed in range(4)]

    def get_next(self):
        return self.rest.pop() if self.rest else None


def write(folder, name, weight_bits):
    paths = [folder / f"{name}-{precision}.{kind}" for precision in ("f32", "int8") for kind in ("onnx", "tflite")]
    f32, f32_flat, int8, int8_flat = paths
    if not all(path.exists() for path in paths):
        print(f"making {name}", file=sys.stderr)
        model = NETWORKS[name]()
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, f32)
        quant_pre_process(str(f32), str(int8), skip_symbolic_shape=True)
        quantize_static(int8, int8, Images(), quant_format=QuantFormat.QDQ, per_channel=True,
                        reduce_range=weight_bits == 7, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
        f32_flat.write_bytes(flatbuffer.convert(model))
        int8_flat.write_bytes(flatbuffer.convert(onnx.load(int8)))
    ncnn(f32, f32.with_suffix(".ncnn.param"))


def ncnn(path, param):
    """Writes ncnn's two files with its converter, a program in the package pnnx; unless they are there or that is missing."""
    package = importlib.util.find_spec("pnnx")
    if param.exists() or not package:
        return
    program = pathlib.Path(package.submodule_search_locations[0]) / "pnnx"
    program.chmod(0o755)
    with tempfile.TemporaryDirectory() as work:
        shutil.copy(path, f"{work}/network.onnx")
        command = [program, "network.onnx", f"inputshape=[1,3,{SIZE},{SIZE}]", "fp16=0"]
        subprocess.run(command, cwd=work, check=True, capture_output=True)
        shutil.copy(f"{work}/network.ncnn.bin", param.with_suffix(".bin"))
        shutil.copy(f"{work}/network.ncnn.param", param)


if __name__ == "__main__":
    for network in NETWORKS:
        write(pathlib.Path(sys.argv[1]), network, int(sys.argv[2]))
