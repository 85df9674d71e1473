"""ONNX as LiteRT's flatbuffers, f32 or QDQ, for the operators of the benched networks.

The converters that LiteRT's makers offer start from PyTorch or TensorFlow. Both engines shall run
the same weights and scales, so the graph is written operator by operator.
"""

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as tfl
from onnx import numpy_helper

NONE, RELU, RELU6 = 0, 1, 3
# XNNPACK computes a sigmoid in 8 bits for this scale and zero point only.
SIGMOID = (np.float32(1 / 256), -128)


class Converter:
    def __init__(self, model):
        self.graph = model.graph
        self.constants = {c.name: numpy_helper.to_array(c) for c in self.graph.initializer}
        self.makers = {name: node for node in self.graph.node for name in node.output}
        self.users = {}
        for node in self.graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
        self.buffers, self.tensors, self.operators = [tfl.BufferT()], [], []
        self.codes = []
        self.values = {}

    def tensor(self, name, shape, kind, data=None, scales=None, zero_point=0, axis=0):
        tensor = tfl.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, 0
        if data is not None:
            buffer = tfl.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.buffers.append(buffer)
            tensor.buffer = len(self.buffers) - 1
        if scales is not None:
            tensor.quantization = tfl.QuantizationParametersT()
            tensor.quantization.scale = np.atleast_1d(scales).astype(np.float32)
            tensor.quantization.zeroPoint = np.full(len(tensor.quantization.scale), zero_point, np.int64)
            tensor.quantization.quantizedDimension = axis
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def operator(self, name, inputs, outputs, options=None, version=1):
        code = getattr(tfl.BuiltinOperator, name)
        if (code, version) not in self.codes:
            self.codes.append((code, version))
        operator = tfl.OperatorT()
        operator.opcodeIndex = self.codes.index((code, version))
        operator.inputs, operator.outputs = inputs, outputs
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(tfl.BuiltinOptions, kind)
            operator.builtinOptions = options
        self.operators.append(operator)

    def shape(self, name):
        return self.tensors[self.values[name]].shape

    def end(self, name):
        """What follows a value: its fused activation, its quantization, and all names it has."""
        act, names, scale = NONE, [name], None
        while len(self.users.get(name, [])) >= 1:
            node = self.users[name][0]
            if node.op_type == "Relu":
                act = RELU
            elif node.op_type == "Clip":
                act = RELU6
            elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                scale = (self.constants[node.input[1]], int(self.constants[node.input[2]]) - 128)
            else:
                break
            name = node.output[0]
            names.append(name)
        return act, names, scale

    def output(self, node, shape, scale=None):
        act, names, found = self.end(node.output[0])
        if found is not None:
            found = scale or found
        kind = tfl.TensorType.FLOAT32 if found is None else tfl.TensorType.INT8
        tensor = self.tensor(names[-1], shape, kind, None, *(found or (None,)))
        self.values.update({name: tensor for name in names})
        return act, tensor

    def weights(self, name, order, axis):
        """Weights in another order; behind a DequantizeLinear with their scales."""
        node = self.makers.get(name)
        values = self.constants[node.input[0] if node else name].transpose(order)
        if not node:
            return self.tensor(name, values.shape, tfl.TensorType.FLOAT32, values), None
        scales = self.constants[node.input[1]]
        return self.tensor(name, values.shape, tfl.TensorType.INT8, values, scales, 0, axis), scales

    def bias(self, name, x, scales):
        node = self.makers.get(name)
        values = self.constants[node.input[0] if node else name]
        if not node:
            return self.tensor(name, values.shape, tfl.TensorType.FLOAT32, values)
        scales = np.atleast_1d(scales) * self.tensors[x].quantization.scale[0]
        return self.tensor(name, values.shape, tfl.TensorType.INT32, values, scales)

    def conv(self, node, attributes):
        x = self.values[node.input[0]]
        depthwise = attributes["group"] > 1
        order, axis = ((1, 2, 3, 0), 3) if depthwise else ((0, 2, 3, 1), 0)
        weights, scales = self.weights(node.input[1], order, axis)
        bias = self.bias(node.input[2], x, scales)
        options = tfl.DepthwiseConv2DOptionsT() if depthwise else tfl.Conv2DOptionsT()
        if depthwise:
            options.depthMultiplier = 1
        options.strideH, options.strideW = attributes.get("strides", [1, 1])
        options.dilationHFactor = options.dilationWFactor = 1
        options.padding = tfl.Padding.SAME
        _, height, width, _ = self.tensors[x].shape
        shape = [1, -(-height // options.strideH), -(-width // options.strideW), len(self.constant(node.input[1]))]
        options.fusedActivationFunction, y = self.output(node, shape)
        self.operator("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", [x, weights, bias], [y], options, 3)

    def constant(self, name):
        node = self.makers.get(name)
        return self.constants[node.input[0] if node else name]

    def step(self, node):
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        inputs = [self.values.get(name) for name in node.input]
        if node.op_type == "Conv":
            self.conv(node, attributes)
        elif node.op_type in ("Add", "Mul"):
            options = tfl.AddOptionsT() if node.op_type == "Add" else tfl.MulOptionsT()
            options.fusedActivationFunction, y = self.output(node, self.shape(node.input[0]))
            self.operator(node.op_type.upper(), inputs, [y], options, 2)
        elif node.op_type == "Sigmoid":
            _, y = self.output(node, self.shape(node.input[0]), SIGMOID)
            self.operator("LOGISTIC", inputs, [y], None, 2)
        elif node.op_type == "GlobalAveragePool":
            axes = self.tensor("axes", [2], tfl.TensorType.INT32, np.array([1, 2], np.int32))
            options = tfl.ReducerOptionsT()
            options.keepDims = True
            _, y = self.output(node, [1, 1, 1, self.shape(node.input[0])[3]])
            self.operator("MEAN", inputs + [axes], [y], options, 2)
        elif node.op_type == "MaxPool":
            options = tfl.Pool2DOptionsT()
            options.padding = tfl.Padding.SAME
            options.strideH, options.strideW = attributes["strides"]
            options.filterHeight, options.filterWidth = attributes["kernel_shape"]
            _, height, width, channels = self.shape(node.input[0])
            _, y = self.output(node, [1, height // options.strideH, width // options.strideW, channels])
            self.operator("MAX_POOL_2D", inputs, [y], options, 2)
        elif node.op_type == "Flatten":
            _, names, _ = self.end(node.output[0])
            # LiteRT's dense layer takes any shape of so many values.
            self.values.update({name: inputs[0] for name in names})
        elif node.op_type == "Gemm":
            weights, scales = self.weights(node.input[1], (0, 1), 0)
            bias = self.bias(node.input[2], inputs[0], scales)
            options = tfl.FullyConnectedOptionsT()
            _, y = self.output(node, [1, len(self.constant(node.input[1]))])
            self.operator("FULLY_CONNECTED", [inputs[0], weights, bias], [y], options, 4)
        elif node.op_type not in ("Relu", "Clip", "QuantizeLinear", "DequantizeLinear"):
            raise ValueError(f"{node.name}: no way to write {node.op_type}")

    def convert(self):
        _, names, scale = self.end("image")
        _, channels, height, width = [d.dim_value for d in self.graph.input[0].type.tensor_type.shape.dim]
        shape = [1, height, width, channels]
        image = x = self.tensor("image", shape, tfl.TensorType.FLOAT32)
        if scale:
            x = self.tensor("image.q", shape, tfl.TensorType.INT8, None, *scale)
            self.operator("QUANTIZE", [image], [x], tfl.QuantizeOptionsT())
        self.values.update({name: x for name in names})
        for node in self.graph.node:
            self.step(node)
        logits = y = self.values[self.graph.output[0].name]
        if scale:
            logits = self.tensor("logits.f", self.tensors[y].shape, tfl.TensorType.FLOAT32)
            self.operator("DEQUANTIZE", [y], [logits], tfl.DequantizeOptionsT(), 2)
        subgraph = tfl.SubGraphT()
        subgraph.tensors, subgraph.operators = self.tensors, self.operators
        subgraph.inputs, subgraph.outputs = [image], [logits]
        model = tfl.ModelT()
        model.version, model.buffers, model.subgraphs, model.operatorCodes = 3, self.buffers, [subgraph], []
        for code, version in self.codes:
            operator = tfl.OperatorCodeT()
            operator.builtinCode, operator.version = code, version
            operator.deprecatedBuiltinCode = min(code, 127)
            model.operatorCodes.append(operator)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def convert(model):
    """The model's bytes as a LiteRT file; its input has the channels last."""
    return Converter(model).convert()
