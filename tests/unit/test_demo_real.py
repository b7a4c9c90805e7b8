import io
from decimal import Decimal

import pytest
from rich.console import Console

from vision_batch.demo.real import read_service, show_price
from vision_batch.demo.run import run
from vision_batch.enrichment.spending import Cost, Price
from vision_batch.errors import ConnectionInputError

GOOD = {"AI_STUDIO_API_KEY": "hush", "AI_STUDIO_FOLDER_ID": "b1gfolder"}


def test_every_missing_variable_is_named_before_anything_else():
    with pytest.raises(ConnectionInputError, match=r"AI_STUDIO_API_KEY(.|\n)*AI_STUDIO_FOLDER_ID"):
        read_service({})
    with pytest.raises(ConnectionInputError) as caught:
        read_service({"AI_STUDIO_API_KEY": "hush"})
    assert "AI_STUDIO_API_KEY" not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_the_command_ends_with_the_message(capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("AI_STUDIO_API_KEY", raising=False)
    assert run(["real", "--images", str(tmp_path)]) == 1
    assert "AI_STUDIO_FOLDER_ID" in capsys.readouterr().out


def test_the_service_is_the_real_one_with_tls_unless_told_otherwise():
    service = read_service(GOOD)
    assert (service.folder_id, service.endpoint, service.tls) == ("b1gfolder", "", True)
    local = read_service({**GOOD, "AI_STUDIO_ENDPOINT": "127.0.0.1:4711", "AI_STUDIO_TLS": "false"})
    assert (local.endpoint, local.tls) == ("127.0.0.1:4711", False)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("AI_STUDIO_TLS", "maybe"), ("AI_STUDIO_UNIT_PRICE", "cheap"), ("AI_STUDIO_ENDPOINT", "host:port")],
)
def test_a_variable_that_cannot_be_read_is_named(variable, value):
    with pytest.raises(ConnectionInputError, match=f"{variable}.*{value}"):
        read_service({**GOOD, variable: value})


def test_the_price_is_shown_with_its_minimum_and_in_money():
    out = Console(file=io.StringIO(), width=200, highlight=False)
    price = Price("Gemma 3 12B", 9, 1, 1, 3000, Cost(200_000, Decimal("20.0"), Decimal("4.00")))
    show_price(price, 3, out)
    text = out.file.getvalue()
    for words in (
        "9 images",
        "3 have an answer already",
        "1 of them cannot be read",
        "200,000 tokens",
        "20 billing",
        "4 at your price",
    ):
        assert words in text
