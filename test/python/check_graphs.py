"""Checks ONNX files with the ONNX package: the checker with full, strict shape inference, one standard opset.

Arguments: files. Prints one line per fault.
"""

import sys

import onnx

for path in sys.argv[1:]:
    try:
        onnx.checker.check_model(path, full_check=True)
        model = onnx.load(path)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        opsets = [(entry.domain, entry.version) for entry in model.opset_import]
        domains = {node.domain for node in model.graph.node}
        if opsets != [("", 18)] or domains - {""} or model.ir_version > 10:
            print(f"{path}: opsets {opsets}, domains {sorted(domains)}, IR {model.ir_version}")
    except Exception as error:  # every kind of fault is a line
        print(f"{path}: {error}")
