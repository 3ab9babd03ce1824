"""ONNX files: reading one that can be trusted, and writing variants of a graph around one file of weights."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model, uses_external_data

from edge.files import write_atomically
from firmware_cfg.errors import BundleError

OPSET = 20
_ALIGNMENT = 64  # bytes: a cache line, so that a runtime may read the file in place
_SMALLEST_SHARED = 128  # bytes: what is smaller is not worth a look elsewhere
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def load_graph(path: Path) -> onnx.ModelProto:
    """Read an ONNX file with its external data, all in memory.

    Raises BundleError, one line, where it is missing, truncated or not ONNX, of another opset than OPSET,
    where its external data is missing or too short, and where a weight is NaN or infinite.
    """
    model = _parse(path)
    versions = {opset.domain or "ai.onnx": opset.version for opset in model.opset_import}
    if versions.get("ai.onnx") != OPSET:
        found = ", ".join(f"{domain} {version}" for domain, version in versions.items()) or "none"
        raise BundleError(f"{path}: opset {found}, wanted ai.onnx {OPSET} (export the checkpoint again)")
    _load_external_data(model, path)
    for initializer in model.graph.initializer:
        if initializer.data_type in _FLOATS and not _is_finite(initializer):
            raise BundleError(
                f"{path}: weights {initializer.name} hold NaN or infinite numbers"
                " (did the training run diverge?)"
            )
    return model


def save_graphs(folder: Path, models: Mapping[str, onnx.ModelProto], weights: str) -> None:
    """Write models by file name into `folder`, the half precision tensors of all of them once, in `weights`.

    Equal tensors are stored once, whatever their names, in the order of their first use. Each file is written
    atomically, the weights first, and then checked. Changes the models. Raises BundleError where the checker
    refuses one, OSError where the disk does.
    """
    blob = bytearray()
    offsets: dict[bytes, int] = {}
    for model in models.values():
        for tensor in model.graph.initializer:
            if tensor.data_type == TensorProto.FLOAT16 and len(tensor.raw_data) > _SMALLEST_SHARED:
                key = hashlib.sha256(tensor.raw_data).digest()
                if key not in offsets:
                    blob.extend(bytes(-len(blob) % _ALIGNMENT))
                    offsets[key] = len(blob)
                    blob.extend(tensor.raw_data)
                _point_to(tensor, weights, offsets[key])
    write_atomically(folder / weights, bytes(blob))
    for name, model in models.items():
        write_atomically(folder / name, model.SerializeToString(deterministic=True))
        _check_file(folder / name)


def write_graph(model: onnx.ModelProto, path: Path) -> None:
    """Check a model that has its weights inside, then write it atomically. Raises BundleError, OSError."""
    _check(model, path)
    write_atomically(path, model.SerializeToString(deterministic=True))


def _check_file(path: Path) -> None:
    """Run ONNX's checker with full type and shape inference. Raises BundleError."""
    _check(str(path), path)


def _check(model: onnx.ModelProto | str, path: Path) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BundleError(f"{path}: not a valid ONNX graph: {' '.join(str(error).split())}") from error


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model that can be changed without changing the first."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    return other


def _parse(path: Path) -> onnx.ModelProto:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise BundleError(f"{path}: truncated, or not an ONNX file (export the checkpoint again)") from error
    # A file cut between two fields still parses: what a model cannot be without comes last, or not at all.
    if not model.opset_import or not model.graph.node or not model.graph.output:
        raise BundleError(f"{path}: truncated, or not an ONNX file (export the checkpoint again)")
    return model


def _load_external_data(model: onnx.ModelProto, path: Path) -> None:
    external = [tensor for tensor in model.graph.initializer if uses_external_data(tensor)]
    for tensor in external:
        try:
            info = ExternalDataInfo(tensor)
        except ValueError as error:
            raise BundleError(
                f"{path}: says nothing sensible of where {tensor.name} lies: {error}"
            ) from error
        file = path.parent / info.location
        try:
            size = os.stat(file).st_size
        except OSError as error:
            raise BundleError(
                f"{path}: its weights are in {info.location}, which cannot be read: {error.strerror}"
                " (the two files belong in one folder)"
            ) from error
        if (info.offset or 0) + (info.length or 0) > size:
            raise BundleError(
                f"{file}: {size} bytes are too few for {tensor.name} of {path.name} (copy both files again)"
            )
    try:
        load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise BundleError(f"{path}: its weights cannot be read: {' '.join(str(error).split())}") from error


def _is_finite(tensor: onnx.TensorProto) -> bool:
    return bool(np.isfinite(numpy_helper.to_array(tensor).astype(np.float32)).all())


def _point_to(tensor: onnx.TensorProto, location: str, offset: int) -> None:
    length = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
