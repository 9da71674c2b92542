"""The default configuration of each model: what `--model NAME` alone trains with."""

from fer_data.augment_draws import NO_AUGMENTATION, AugmentationConfig
from jobs.training.config import TrainConfig
from jobs.training.option_groups import OptimizerConfig, ScheduleConfig

DEFAULTS: dict[str, TrainConfig] = {
    # As the original project trained it. It learns far more slowly in bfloat16: its activations contain the brightness
    # of the image until the only normalisation, and eight bits leave little for anything else.
    "cnn": TrainConfig(model="cnn", precision="float32", dropout=0.4),
    "compact": TrainConfig(
        model="compact",
        epochs=60,
        batch_size=128,
        dropout=0.3,
        label_smoothing=0.1,
        monitor="accuracy",
        patience=0,
        optimizer=OptimizerConfig(optimizer="adamw", learning_rate=3e-3, weight_decay=0.01),
        schedule=ScheduleConfig(schedule="cosine", warmup_epochs=1),
        augmentation=AugmentationConfig(
            rotation=12, shift=0.083, zoom=0.15, shear=0, contrast=0.2, brightness=0.1, erase_probability=0.25
        ),
    ),
    "large": TrainConfig(
        model="large",
        epochs=60,
        batch_size=128,
        dropout=0.3,
        label_smoothing=0.05,
        ema=0.999,
        monitor="accuracy",
        patience=0,
        optimizer=OptimizerConfig(optimizer="adamw", learning_rate=2e-3, weight_decay=0.05),
        schedule=ScheduleConfig(schedule="cosine", warmup_epochs=1),
        augmentation=AugmentationConfig(
            rotation=12,
            shift=0.1,
            zoom=0.15,
            shear=0,
            contrast=0.2,
            brightness=0.13,
            erase_probability=0.3,
            erase_area=0.2,
            mixup=0.2,
        ),
    ),
    # As the original project trained it.
    "resnet50": TrainConfig(model="resnet50", epochs=100, dropout=0.6),
}

FIRST_RUN = TrainConfig(
    model="cnn",
    epochs=3,
    # Small, because batch norm needs some hundreds of steps before its statistics are good.
    batch_size=8,
    precision="float32",
    optimizer=OptimizerConfig(learning_rate=6e-4),
    schedule=ScheduleConfig(schedule="cosine"),
    augmentation=NO_AUGMENTATION,
)
"""The original network on the drawn faces, for a first look: a minute or two on two cores."""
