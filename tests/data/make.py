"""Writes the files of this folder that torch writes: `python make.py` with the pinned torch."""

from collections import OrderedDict
from pathlib import Path

import torch

HERE = Path(__file__).parent

shared = torch.arange(12, dtype=torch.float32).view(3, 4)
module = torch.nn.Linear(2, 3)
with torch.no_grad():
    module.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    module.bias.copy_(torch.tensor([-1.0, 0.5, 0.25]))
state = module.state_dict()
state["shared.whole"] = shared
state["shared.rows"] = shared[1:]
state["shared.columns"] = shared[:, 1:3]
state["shared.transposed"] = shared.t()
state["shared.every_other"] = shared[::2, ::3]
state["shared.repeated"] = shared[1, :1].expand(3, 2)
state["parameter"] = torch.nn.Parameter(torch.tensor([7.0, 8.0]))
state["scalar"] = torch.tensor(2.5, dtype=torch.float64)
state["empty"] = torch.zeros(0, 3)
state["half"] = torch.tensor([0.5, -2.0], dtype=torch.float16)
state["bfloat16"] = torch.tensor([1.5, -3.0], dtype=torch.bfloat16)
state["int64"] = torch.tensor([1, -(2**40)])
state["int32"] = torch.tensor([3, -4], dtype=torch.int32)
state["int16"] = torch.tensor([5, -6], dtype=torch.int16)
state["int8"] = torch.tensor([7, -8], dtype=torch.int8)
state["uint8"] = torch.tensor([9, 255], dtype=torch.uint8)
state["bool"] = torch.tensor([True, False])
for protocol in (2, 3, 4, 5):
    torch.save(state, HERE / f"torch_zip_{protocol}.bin", pickle_protocol=protocol)
    name = f"torch_legacy_{protocol}.bin"
    torch.save(state, HERE / name, pickle_protocol=protocol, _use_new_zipfile_serialization=False)

small = OrderedDict(weight=torch.tensor([1.0, 2.0]))
torch.save({"epoch": 3, "state_dict": small}, HERE / "torch_training.bin")
torch.save(OrderedDict(model=small), HERE / "torch_nested.bin", pickle_protocol=5)
torch.save(torch.nn.Linear(1, 1), HERE / "torch_module.bin")
torch.save(torch.nn.Linear(1, 1), HERE / "torch_legacy_module.bin", _use_new_zipfile_serialization=False)
