"""Checks ONNX files of any opset with the ONNX package: the checker with full, strict shape inference.

Arguments: files. Prints one line per fault.
"""

import sys

import onnx

for path in sys.argv[1:]:
    try:
        onnx.checker.check_model(path, full_check=True)
        onnx.shape_inference.infer_shapes(onnx.load(path), check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:  # every kind of fault is a line
        print(f"{path}: {error}")
