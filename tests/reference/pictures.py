"""Writes pictures in every format of a camera and of a video, with what they are in RGB.

    python pictures.py FOLDER [PHOTO...]

Colours are ITU-R BT.601, computed in double precision from the weights of red and blue in luma; JPEGs are
written and read by Pillow. FOLDER/list.txt has a line for each: format or `video`, width, height, bytes of a
row, largest difference that may be, largest mean difference, file, file with RGB.
"""

import io
import pathlib
import struct
import sys

import numpy as np
from PIL import Image

RED, BLUE = 0.299, 0.114
ROWS = np.array(
    [
        [RED, 1 - RED - BLUE, BLUE],
        np.array([-RED, -(1 - RED - BLUE), 1 - BLUE]) / (2 * (1 - BLUE)),
        np.array([1 - RED, -(1 - RED - BLUE), -BLUE]) / (2 * (1 - RED)),
    ]
)
ZERO = np.array([0.0, 128.0, 128.0])


def scale(full):
    """Codes for the whole range of luma and of a colour difference, and luma's black."""
    return (np.array([255.0] * 3), 0.0) if full else (np.array([219.0, 224.0, 224.0]), 16.0)


def to_yuv(rgb, full):
    codes, black = scale(full)
    yuv = rgb / 255.0 @ ROWS.T * codes + ZERO + [black, 0, 0]
    return np.clip(np.round(yuv), 0, 255)


def to_rgb(yuv, full):
    codes, black = scale(full)
    rgb = ((yuv - ZERO - [black, 0, 0]) / codes) @ np.linalg.inv(ROWS).T * 255.0
    return np.clip(np.round(rgb), 0, 255).astype(np.uint8)


def shared(plane, columns, rows):
    """The means of blocks of pixels."""
    height, width = plane.shape
    blocks = np.pad(plane, [(0, -height % rows), (0, -width % columns)], mode="edge")
    blocks = blocks.reshape(blocks.shape[0] // rows, rows, -1, columns)
    return np.round(blocks.mean(axis=(1, 3)))


def repeated(plane, columns, rows, size):
    height, width = size
    return np.repeat(np.repeat(plane, rows, axis=0), columns, axis=1)[:height, :width]


def as_planes(rgb, full, columns, rows):
    """Planes of luma, blue and red, and the picture that they are."""
    y, u, v = np.moveaxis(to_yuv(rgb.astype(float), full), -1, 0)
    u, v = shared(u, columns, rows), shared(v, columns, rows)
    back = [y, repeated(u, columns, rows, y.shape), repeated(v, columns, rows, y.shape)]
    return [p.astype(np.uint8) for p in (y, u, v)], to_rgb(np.stack(back, axis=-1), full)


def padded(rows, stride):
    return b"".join(bytes(row) + b"\xaa" * (stride - len(row)) for row in rows)


def jpeg(image, **options):
    """As Pillow writes it, and as Pillow reads it."""
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue(), np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))


def without_tables(data):
    """As many cameras send it: the tables of codes are those of the standard, and left out."""
    at, parts = 2, [data[:2]]
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] != 0xC4:
            parts.append(data[at:end])
        at = end
    return b"".join([*parts, data[at:]])


class Writer:
    def __init__(self, folder):
        self.folder, self.lines = folder, []

    def add(self, kind, size, stride, data, rgb, most=1, mean=1.0):
        height, width = size
        name = f"{len(self.lines):03}"
        (self.folder / f"{name}.in").write_bytes(data)
        (self.folder / f"{name}.rgb").write_bytes(np.ascontiguousarray(rgb).tobytes())
        line = (kind, width, height, stride, most, mean, f"{name}.in", f"{name}.rgb")
        self.lines.append(" ".join(map(str, line)))

    def camera_formats(self, rgb):
        size = height, width = rgb.shape[:2]
        for stride in (width * 3, width * 3 + 5):
            self.add("RGB3", size, stride, padded(rgb.reshape(height, -1), stride), rgb, 0, 0)
            self.add("BGR3", size, stride, padded(rgb[:, :, ::-1].reshape(height, -1), stride), rgb, 0, 0)
        grey = rgb[:, :, 1]
        self.add("GREY", size, width + 3, padded(grey, width + 3), np.stack([grey] * 3, axis=-1), 0, 0)
        if width % 2:
            return
        (y, u, v), expect = as_planes(rgb, False, 2, 1)
        yuyv = np.stack([y[:, ::2], u, y[:, 1::2], v], axis=-1).reshape(height, -1)
        self.add("YUYV", size, width * 2 + 6, padded(yuyv, width * 2 + 6), expect)
        (y, u, v), expect = as_planes(rgb, False, 2, 2)
        colours = np.stack([u, v], axis=-1).reshape(u.shape[0], -1)
        self.add("NV12", size, width + 8, padded(y, width + 8) + padded(colours, width + 8), expect)

    def jpegs(self, rgb, is_real):
        """What is known of JPEG's own arithmetic: decoders round it, and smooth shared colours, in ways of their own."""
        image, size = Image.fromarray(rgb), rgb.shape[:2]
        for quality in (60, 95):
            for subsampling in (0, 1, 2):
                most = 3 if subsampling == 0 else 6 if is_real else 64
                mean = 0.1 if subsampling == 0 else 0.3 if is_real else 1
                for more in ({}, {"progressive": True}, {"restart_marker_rows": 1}):
                    data, expect = jpeg(image, quality=quality, subsampling=subsampling, **more)
                    self.add("MJPG", size, 0, data, expect, most, mean)
        self.add("MJPG", size, 0, *jpeg(image.convert("L"), quality=90), 3, 0.1)
        data, expect = jpeg(image, quality=90, subsampling=0)
        self.add("MJPG", size, 0, without_tables(data), expect, 3, 0.1)

    def videos(self, pictures):
        size = height, width = pictures[0].shape[:2]
        kinds = {"420mpeg2": (2, 2), "422": (2, 1), "444": (1, 1), "411": (4, 1)}
        for name, (columns, rows) in kinds.items():
            for full in (False, True):
                planes, expect = zip(*(as_planes(rgb, full, columns, rows) for rgb in pictures))
                line = f"YUV4MPEG2 W{width} H{height} F30000:1001 Ip A1:1 C{name}"
                line += f" XCOLORRANGE={'FULL' if full else 'LIMITED'}\n"
                frames = [b"FRAME\n" + b"".join(p.tobytes() for p in picture) for picture in planes]
                self.add("video", size, 0, line.encode() + b"".join(frames), np.concatenate(expect))
        coded, expect = zip(*(jpeg(Image.fromarray(p), quality=92, subsampling=0) for p in pictures))
        expect = np.concatenate(expect)
        self.add("video", size, 0, b"".join(coded), expect, 3, 0.1)
        self.add("video", size, 0, avi(coded, width, height), expect, 3, 0.1)


def avi(pictures, width, height):
    def chunk(name, content):
        return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)

    def group(name, kind, *content):
        return chunk(name, kind + b"".join(content))

    main = struct.pack("<14I", 33333, 0, 0, 0x10, len(pictures), 0, 1, 0, width, height, 0, 0, 0, 0)
    head = struct.pack("<4s4sIHHIIIIIIII4H", b"vids", b"MJPG", 0, 0, 0, 0, 1, 30, 0, len(pictures), 0, 0, 0, 0, 0, width, height)
    form = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", width * height * 3, 0, 0, 0, 0)
    stream = group(b"LIST", b"strl", chunk(b"strh", head), chunk(b"strf", form))
    movie = group(b"LIST", b"movi", *(chunk(b"00dc", p) for p in pictures))
    return group(b"RIFF", b"AVI ", group(b"LIST", b"hdrl", chunk(b"avih", main), stream), movie)


def main(folder, photos):
    numbers = np.random.default_rng(1)
    noise = [numbers.integers(0, 256, (26, 38, 3), dtype=np.uint8) for _ in range(2)]
    odd = numbers.integers(0, 256, (7, 13, 3), dtype=np.uint8)
    real = [Image.open(p).convert("RGB").resize((320, 180), Image.Resampling.BICUBIC) for p in photos]
    real = [np.asarray(image) for image in real]
    writer = Writer(folder)
    for picture in [*noise, odd, *real]:
        writer.camera_formats(picture)
    for picture in noise[:1]:
        writer.jpegs(picture, False)
    for picture in real:
        writer.jpegs(picture, True)
    for pictures in [noise, [odd, odd[::-1]], real]:
        if pictures:
            writer.videos(pictures)
    (folder / "list.txt").write_text("\n".join(writer.lines) + "\n")


main(pathlib.Path(sys.argv[1]), sys.argv[2:])
