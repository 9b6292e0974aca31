"""What the service should answer: the same operations of the same model, run offline."""

from typing import Any

import numpy as np
import torch

from models.core.contract.operation import run
from models.core.contract.rows import Rows
from tests.support.service.models import inputs, tiny_model
from tests.support.service.pictures import pixels

JEM = tiny_model("jem", log_z=3.0)
X = torch.from_numpy(np.stack([pixels(seed=i)[None] for i in range(3)])).float() / 255


def alone(operation: str, x: torch.Tensor = X, params: Any = None, label: int = -1) -> Rows:
    """What `run` gives offline for the same images."""
    op = JEM.operations()[operation]
    columns = inputs(len(x), x=x, label=torch.full((len(x),), label))
    return run(op, columns, params if params is not None else op.default_params)
