"""An independent classifier that says what a generated image shows: its class, its features."""

from pathlib import Path
from typing import Any

import lightning
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from training.data.batches import Batches, Steps
from training.data.splits import Split


class Classifier(lightning.LightningModule):
    """Batch-normalised convolutions: another architecture, loss and seed than a model's own.

    Shapes: (B, C, H, W) in [0, 1] -> (B, K) logits.
    """

    num_features = 128

    def __init__(
        self, num_channels: int, num_classes: int, batches: Batches, num_steps: int
    ) -> None:
        super().__init__()
        self.batches = batches
        self.num_steps = num_steps
        layers: list[nn.Module] = []
        for num_in, num_out in ((num_channels, 32), (32, 64), (64, 64)):
            layers += [
                nn.Conv2d(num_in, num_out, 3, padding=1, bias=False),
                nn.BatchNorm2d(num_out),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.body = nn.Sequential(
            *layers,
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(1024, self.num_features),
            nn.ReLU(),
        )
        self.head = nn.Linear(self.num_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x))
        return logits

    def features(self, x: Tensor) -> Tensor:
        """The penultimate layer. Shapes: (B, C, H, W) in [0, 1] -> (B, num_features)."""
        features: Tensor = self.body(x)
        return features

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        x, y = self.batches.at(self.global_step)
        loss = nn.functional.cross_entropy(self(x), y)
        self.log("classifier_loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=2e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=2e-3, total_steps=self.num_steps
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def train_classifier(
    train: Split, num_classes: int, folder: Path, num_steps: int = 1500
) -> Classifier:
    """A classifier trained on the train split alone, which always gives the same weights on the
    same machine; kept in `folder` for the next time."""
    # The file has the name that it had in runs of earlier versions.
    path = folder / f"judge_of_{Classifier.num_features}_features.safetensors"
    lightning.seed_everything(12345, verbose=False)
    classifier = Classifier(
        train.x.shape[1], num_classes, Batches(train, 128, seed=12345), num_steps
    )
    if path.exists():
        classifier.load_state_dict(load_file(path))
        return classifier.eval()
    trainer = lightning.Trainer(
        accelerator="auto",
        devices=1,
        max_steps=num_steps,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(classifier, DataLoader(Steps(num_steps), batch_size=None))
    save_file({k: v.contiguous() for k, v in classifier.state_dict().items()}, path)
    return classifier.eval()
