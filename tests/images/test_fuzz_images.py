"""A short slice of ``make fuzz``: the same files in every run."""

import subprocess
import sys
from pathlib import Path

FUZZER = Path(__file__).with_name("fuzz_images.py")


def test_mutated_pictures_are_sent_within_their_budget_or_rejected_and_take_no_more_memory(tmp_path):
    command = [sys.executable, FUZZER, "--seed", "20261124", "--tries", "5000", "--seconds", "3600", "--keep", tmp_path]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.startswith("5000 files")
