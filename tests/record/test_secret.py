"""What is masked and what is not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from epochal.record.secret import Masker, looks_secret, secrets_of

SECRET = [
    "WANDB_API_KEY",
    "HF_TOKEN",
    "hf_token",
    "AWS_SECRET_ACCESS_KEY",
    "MYSQL_PWD",
    "DB_PASSWORD",
    "--api-key",
    "OPENAI_APIKEY",
    "SENTRY_DSN",
    "GITHUB_PAT",
    "HTTP_AUTH",
    "EPOCHAL_ALERT_WEBHOOK",
    "KEY",
    "SSH_PRIVATE",
]
OPEN = [
    "PWD",
    "OLDPWD",
    "HOME",
    "GIT_AUTHOR_NAME",
    "AUTHOR",
    "KEYBOARD",
    "MONKEY",
    "PATH",
    "PATIENCE",
    "--lr",
    "COMPASS",
]


@pytest.mark.parametrize("name", SECRET)
def test_names_of_secrets(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize("name", OPEN)
def test_names_of_what_is_no_secret(name: str) -> None:
    assert not looks_secret(name)


def test_values_that_are_masked(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    file.touch()
    found = secrets_of(
        {
            "HF_TOKEN": "hf_abc/def+1",
            "USE_TOKEN": "true",
            "GOOGLE_APPLICATION_CREDENTIALS": str(file),
            "SIGNING_KEY": "-----BEGIN KEY-----\nabcdefghijklmnopqrstuvwxyz\nend\n",
            "HOME": "/home/somebody",
        }
    )
    assert {"hf_abc/def+1", "hf_abc%2Fdef%2B1", "abcdefghijklmnopqrstuvwxyz"} <= found
    assert not {"true", "end", str(file), "/home/somebody"} & found


def test_masking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "secret-1")
    monkeypatch.setenv("B_TOKEN", "secret-1-and-more")
    mask = Masker(also=["https://hooks.example/T123", ""])
    assert mask("x secret-1-and-more y secret-1 z https://hooks.example/T123/a") == "x *** y *** z ***/a"
    assert mask("postgres://me:pa55@host/db and https://host/path?a=b@c") == (
        "postgres://me:***@host/db and https://host/path?a=b@c"
    )


def test_a_long_word_before_an_address_costs_no_time() -> None:
    text = "a." * 50_000 + "://x postgres+driver://me:pa55@host"
    began = time.process_time()
    assert Masker()(text).endswith(" postgres+driver://me:***@host")
    assert time.process_time() - began < 1


def test_keys_that_come_to_the_environment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = Masker()
    assert mask("late-secret") == "late-secret"
    monkeypatch.setenv("LATE_TOKEN", "late-secret")
    mask.refresh()
    assert mask("late-secret") == "***"
    monkeypatch.delenv("LATE_TOKEN")
    mask.refresh()
    assert mask("late-secret") == "***", "what was a secret once may still be printed"
