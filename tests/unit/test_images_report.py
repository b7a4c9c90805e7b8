import json
import re
from pathlib import Path

import pytest
from PIL import Image

from vision_batch.cli import main
from vision_batch.images import report
from vision_batch.images.budget import Budget, fit, prompt_tokens
from vision_batch.images.prepare import prepare_image
from vision_batch.models import MODELS


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "снимки [2026]"
    (folder / "sub").mkdir(parents=True)
    Image.new("RGB", (640, 480), "red").save(folder / "a.jpg")
    Image.new("RGB", (4032, 3024), "blue").save(folder / "sub" / "big.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0nothing")
    (folder / "notes.txt").write_text("a note")
    (folder / ".hidden.jpg").write_bytes(b"x")
    return folder


def tables(text: str) -> tuple[dict[tuple[str, str], list[str]], dict[str, list[str]]]:
    """The rows of both tables: by image and model, and by model."""
    found: list[list[list[str]]] = [[], []]
    for line in text.splitlines():
        if line.startswith("│"):
            found["All of them" in text[: text.index(line)]].append([cell.strip() for cell in line.split("│")[1:-1]])
    images, name = {}, ""
    for row in found[0]:
        name = row[0] or name
        images[name, row[1]] = row[2:]
    return images, {row[0]: row[1:] for row in found[1]}


def printed_json(capsys, *arguments: str) -> dict:
    assert report.run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_sizes_tokens_bytes_and_share_of_the_window_for_all_eight_models(folder, capsys):
    assert main(["tokens", "all", str(folder)]) == 0
    printed = capsys.readouterr().out
    images, jobs = tables(printed)
    small, big = str(folder / "a.jpg"), str(folder / "sub" / "big.png")
    stored = f"{(folder / 'a.jpg').stat().st_size:,} as stored"
    assert images[small, "Qwen2 VL 7B"] == ["640x480", "640x480", "393", "9.6%", stored]
    assert images[small, "DeepSeek 2 VL"] == ["640x480", "640x480", "1,023", "25.0%", stored]
    assert images[big, "Qwen2.5 VL 32B"][:4] == ["4032x3024", "1848x1372", "3,236", "79.0%"]
    assert images[big, "DeepSeek 2 VL Tiny"][:4] == ["4032x3024", "1152x864", "2,017", "49.2%"]
    assert images[big, "Gemma 3 27B"][:4] == ["4032x3024", "1194x896", "260", "6.3%"]
    assert [model for image, model in images if image == big] == [model.name for model in MODELS.values()]
    # Two requests, each with 500 tokens of prompt, 300 of answer and 48 of template and margin.
    assert jobs["Gemma 3 12B"] == ["2", "520", "2,216", "200,000", "200"]
    assert jobs["DeepSeek 2 VL"] == ["2", "3,040", "4,736", "200,000", "400"]
    assert "A job is billed for at least 200,000 tokens" in printed


def test_json_says_the_same_and_is_what_would_be_sent(folder, capsys):
    found = printed_json(capsys, "all", str(folder / "a.jpg"), str(folder / "sub" / "big.png"))
    assert [image["model"] for image in found["images"]] == [*MODELS, *MODELS]
    for image in found["images"]:
        model = MODELS[image["model"]]
        data = Path(image["image"]).read_bytes()
        made = prepare_image(data, model=model, budget_tokens=Budget(4096, 300, 500).image_tokens)
        expected = {"width": made.width, "height": made.height, "tokens": made.tokens, "bytes": len(made.data)}
        assert expected.items() <= image.items()
        assert image["window_share"] == pytest.approx(made.tokens / 4096, abs=1e-4)
        assert image["rejected"] is None
    assert found["one_job"][-1]["model"] == "gemma-3-27b-it"
    assert found["one_job"][-1]["billing_units"] == 400


@pytest.mark.parametrize("name", MODELS)
def test_a_size_is_enough(name, capsys):
    [image] = printed_json(capsys, name, "4032x3024")["images"]
    width, height = fit(MODELS[name], 4032, 3024, 4096 - 848)
    assert (image["width"], image["height"], image["bytes"]) == (width, height, None)
    assert image["tokens"] == prompt_tokens(MODELS[name], width, height)


@pytest.mark.parametrize("times", "xXхХ×")
def test_a_size_may_be_written_with_what_looks_like_an_x(times, capsys):
    assert printed_json(capsys, "gemma-3-12b-it", f"640{times}480")["images"][0]["stored"] == "640x480"


def test_files_that_cannot_be_sent_are_listed_with_the_reason(folder, capsys):
    assert report.run(["gemma-3-12b-it", str(folder), "1x2000000"]) == 0
    rejected = [line for line in capsys.readouterr().out.splitlines() if line.startswith("rejected: ")]
    assert len(rejected) == 2
    assert re.search(r"снимки \[2026\]/broken\.jpg: (corrupt|truncated): the JPEG file", rejected[0])
    assert "notes.txt: not_an_image: the bytes are text" in rejected[1]
    found = printed_json(capsys, "gemma-3-12b-it", str(folder / "notes.txt"))
    assert found["images"][0]["rejected"].startswith("not_an_image")
    assert found["images"][0]["tokens"] is None
    assert found["one_job"][0]["billed_tokens"] == 0


def test_one_model_a_longer_prompt_a_longer_answer_and_another_window(capsys):
    def tokens(*more: str) -> int:
        return printed_json(capsys, "qwen2-vl-7b-instruct", "4032x3024", *more)["images"][0]["tokens"]

    assert 1900 < tokens("--prompt-tokens", "1000", "--max-tokens", "1000") <= 4096 - 2048
    assert 15_000 < tokens("--window", "16384") <= 16_384 - 848


def test_many_images_are_billed_by_their_tokens(tmp_path, capsys):
    Image.new("RGB", (640, 480), "red").save(tmp_path / "a.jpg")
    assert report.run(["deepseek-vl2", *[str(tmp_path / "a.jpg")] * 300]) == 0
    tokens = 300 * (1023 + 848)
    assert tables(capsys.readouterr().out)[1]["DeepSeek 2 VL"] == [
        "300", f"{300 * 1023:,}", f"{tokens:,}", f"{tokens:,}", f"{2 * tokens / 1000:,.1f}",
    ]  # fmt: skip


def test_models_without_room_are_marked_beside_those_with_room(folder, capsys):
    assert report.run(["all", str(folder / "a.jpg"), "--prompt-tokens", "3400"]) == 0
    printed = capsys.readouterr().out
    images, jobs = tables(printed)
    assert images[str(folder / "a.jpg"), "DeepSeek 2 VL"][1] == "rejected"
    assert images[str(folder / "a.jpg"), "Gemma 3 4B"][1] == "640x480"
    assert jobs["DeepSeek 2 VL"] == ["0", "0", "0", "0", "0"]
    assert "no_room: 348 tokens of the window of deepseek-vl2 are left" in printed


def test_an_added_model_is_counted_by_its_family(tmp_path, capsys):
    (tmp_path / "models.yaml").write_text("my-vl: {family: qwen, window_tokens: 8192}\n")
    [image] = printed_json(capsys, "my-vl", "4032x3024", "--models", str(tmp_path / "models.yaml"))["images"]
    assert image["window_tokens"] == 8192
    assert 7000 < image["tokens"] <= 8192 - 848


def test_a_file_that_may_not_be_read_is_listed(folder, capsys, monkeypatch):
    def refuse(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)  # root may read everything
    assert report.run(["all", str(folder / "a.jpg")]) == 0
    assert "Permission denied" in capsys.readouterr().out


def test_a_huge_file_is_not_read(tmp_path, capsys):
    with (tmp_path / "film.mp4").open("wb") as file:
        file.truncate(10**12)
    assert report.run(["all", str(tmp_path)]) == 0
    assert "too_many_bytes: the file has 1000000000000 bytes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "required: MODEL, FILE|WxH"),
        (["all"], "required: FILE|WxH"),
        (["all", "nowhere.jpg"], "there is no file or folder 'nowhere.jpg', and it is no size such as 4032x3024"),
        (["all", "0x5"], "it is no size"),
        (["all", "nothing"], "there are no files in nothing"),
        (
            ["all", ".", "--models", "broken.yaml"],
            "broken.yaml, line 2 is not YAML of models: expected the node content",
        ),
        (["all", ".", "--models", "text.yaml"], "text.yaml is not YAML of models"),
        (["all", ".", "--models", "key.yaml"], "m has ['5', 'a']; allowed: family, name"),
        (["all", ".", "--models", "deep.yaml"], "deep.yaml is not YAML of models: "),
        (["all", "a" * 5000], f"'{'a' * 200} ...' cannot be looked at: File name too long"),
        (["all", "~nobody-of-this-name/a.jpg"], "there is no file or folder '~nobody-of-this-name/a.jpg'"),
        (["all", ".", "--models", "nothing"], "nothing cannot be read: Is a directory"),
        (["gemma-3-4b", "."], "did you mean gemma-3-4b-it"),
        (["gpt://x", "."], "is not a model URI"),
        (["all", ".", "--max-tokens", "-1"], "not a number of tokens"),
        (["all", ".", "--prompt-tokens", "many"], "'many' is not a number of tokens"),
        (["all", ".", "--window", "10"], "the window is '10'; allowed: a whole number from 512"),
        (["all", ".", "--models", "nowhere.yaml"], "nowhere.yaml cannot be read"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(arguments, text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nothing").mkdir()
    (tmp_path / "a.jpg").touch()
    (tmp_path / "broken.yaml").write_text("x: [1,\n")
    (tmp_path / "text.yaml").write_text("a text")
    (tmp_path / "key.yaml").write_text("m: {family: qwen, 5: x, a: b}")
    (tmp_path / "deep.yaml").write_text("[" * 10_000)
    with pytest.raises(SystemExit) as ended:
        report.run(arguments)
    assert ended.value.code == 2
    assert text in capsys.readouterr().err
