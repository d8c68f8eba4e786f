"""The rooms and which way their arrows may go: the one list that the tests and ARCHITECTURE.md are held against."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "epochal"

ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "facts": {"errors"},
    "picture": {"errors", "facts"},
    "film": {"errors", "facts", "picture"},
    "store": {"errors", "facts"},
    "record": {"errors", "facts", "store"},
    "frameworks": {"errors", "facts", "record"},
    "dropin": {"errors", "facts", "record"},
    "network": {"errors", "facts", "store"},
    "lens": {"errors", "facts", "film", "network", "picture", "store"},
    "views": {"errors", "facts", "film", "store"},
    "workspace": {"errors", "facts", "film", "lens", "network", "store", "views"},
    "wire": {"errors", "facts", "film", "lens", "network", "picture", "store", "views"},
    "export": {"errors", "facts", "film", "picture", "store", "views", "wire", "workspace"},
    "server": {"errors", "export", "facts", "lens", "network", "store", "views", "wire"},
    "demos": {"errors", "facts", "frameworks", "record"},
    "lab": {"demos", "errors", "facts", "network", "record", "store", "views"},
    "cli": {
        "demos",
        "errors",
        "export",
        "facts",
        "film",
        "lab",
        "lens",
        "network",
        "picture",
        "record",
        "server",
        "store",
        "views",
        "wire",
        "workspace",
    },
    "__init__": {"errors", "facts", "film", "lab", "lens", "network", "record", "workspace"},
    "__main__": {"cli"},
    "_version": set(),
}
"""Room -> the rooms it may import. `_version` is open to all."""

HEAVY: dict[str, tuple[str, ...]] = {
    "torch": (
        "frameworks/",
        "dropin/tensorboard_tee",
        "network/",
        "lens/",
        "demos/torch_",
        "demos/convnet",
        "lab/training",
    ),
    "keras": ("frameworks/keras",),
    "tensorflow": ("frameworks/keras",),
    "lightning": ("frameworks/lightning",),
    "transformers": ("frameworks/transformers",),
    "jax": ("frameworks/jax", "frameworks/keras"),
    "flax": ("frameworks/jax",),
    "equinox": ("frameworks/jax",),
    "sklearn": ("frameworks/sklearn", "demos/tables", "demos/images"),
    "matplotlib": ("record/media/",),
    "plotly": ("record/media/",),
    "psutil": ("record/system", "lab/local"),
    "ray": ("lab/ray.py", "lens/examples_ray.py"),
    "h5py": ("demos/volumes.py",),
    "optuna": ("lab/propose.py", "views/effects_optuna.py"),
    "pynvml": ("record/system",),
    "obstore": ("store/remote.py",),
    "pyarrow": ("store/parquet.py", "store/compact.py", "workspace/", "export/"),
    "av": ("picture/movie.py", "record/media/"),
    "fastapi": ("server/",),
    "starlette": ("server/",),
    "uvicorn": ("server/",),
    "PIL": ("picture/", "record/media/", "lens/photos.py", "lens/colouring.py"),
    "pydantic": ("wire/", "server/"),
    "rich": ("cli/",),
}
"""Heavy library -> where in the package it may be imported."""
