"""Vision-language answers about images as rows in a warehouse, asked in batch on Yandex AI Studio."""

__version__ = "0.1.0"
