"""The obvious service to compare with: FastAPI, one upload, one forward pass, no queue."""

import io
import os
from pathlib import Path
from typing import Annotated

import torch
from fastapi import FastAPI, UploadFile
from PIL import Image

from models.core.bundle import bundle
from models.core.bundle.onnx import OnnxFunction

PATH = Path(__file__).parents[1] / "bundles" / os.environ.get("PLAIN_BUNDLE", "jem_fashion-mnist")
_LOADED = bundle.load(PATH)
_GRAPH = OnnxFunction(_LOADED.graphs["logits"], 1)
_CALIBRATION = _LOADED.calibrations["energy"]

app = FastAPI()


@app.post("/ood_score")
def ood_score(file: Annotated[UploadFile, "the image"]) -> dict[str, float]:
    """Energy and p-value of one image."""
    image = Image.open(io.BytesIO(file.file.read()))
    assert _LOADED.preprocessing is not None, "the comparison is about images"
    pixels, _ = _LOADED.preprocessing.apply(image)
    _, energy = _GRAPH(torch.from_numpy(pixels)[None].float() / 255)
    return {"score": float(energy[0]), "p_value": float(_CALIBRATION.p_value(energy)[0])}
