"""What is left of enrichments that nobody declares any more is told, with what to do, and never touched."""

import shutil
from dataclasses import replace

import pytest
from enrichment_lab import DAYS

from vision_batch.errors import ConnectionInputError
from vision_batch.steps.removed import report_removed

NAME = "photo-quality"
DATASET = "ImageTextToTextGenerationRequest"


@pytest.fixture
def prepared(enrichment):
    """Give an enrichment with an open shard and a dataset, and the shard's key."""
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        enrichment.picture(DAYS[0], name, colour)
    [key] = enrichment.claim(DAYS[:1])
    enrichment.prepare(key)
    return enrichment, key


def report(enrichment, *declared):
    """Look from another enrichment that shares the work folder and the connection."""
    other = enrichment.resources.declaration.model_copy(update={"name": "other"})
    return report_removed(
        [other, other.model_copy(update={"name": "third"})],
        {"other", "third", *declared},
        lambda declaration: replace(enrichment.resources, declaration=declaration),
    )


def test_open_shards_and_datasets_of_a_removed_enrichment_are_told_and_stay(prepared, caplog):
    enrichment, key = prepared
    [dataset] = enrichment.datasets()
    found = report(enrichment)
    [removed] = found.removed
    folder = f"{enrichment.resources.declaration.work_folder}/{NAME}"
    assert found.as_dict() == {
        "removed": (
            {
                "enrichment": NAME,
                "folder": folder,
                "shards": (key,),
                "items": 2,
                "datasets": (dataset.dataset_id,),
            },
        ),
        "problems": (),
    }
    [said] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    for words in (repr(NAME), key, "2 images", dataset.dataset_id, folder, "Restore its declaration"):
        assert words in said
    assert removed.shards == tuple(enrichment.resources.work().open_shards())
    assert [left.dataset_id for left in enrichment.datasets()] == [dataset.dataset_id]


def test_nothing_is_said_of_declared_ones_broken_or_not(prepared, caplog):
    enrichment, _ = prepared
    assert report(enrichment, NAME).removed == ()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_nothing_is_said_of_removed_ones_that_left_nothing(enrichment):
    enrichment.picture(DAYS[0], "a.png")
    enrichment.run(DAYS[:1])
    assert report(enrichment).removed == ()


def test_datasets_are_told_that_are_this_installs_only(prepared):
    enrichment, key = prepared
    install = enrichment.resources.work().install_id()
    shutil.rmtree(enrichment.folder / "work" / NAME)
    [ours] = enrichment.datasets()
    with enrichment.resources.service() as service:
        service.create_dataset(f"vb-{install[:6]}-{NAME}-{key}", DATASET, labels={"vb_install": "0" * 16})
        service.create_dataset(f"vb-{install[:6]}-by-hand", DATASET, labels={"vb_install": install})
        service.create_dataset(f"vb-000000-{NAME}-{key}", DATASET, labels={"vb_install": install})
    [removed] = report(enrichment).removed
    assert (removed.enrichment, removed.shards, removed.datasets) == (NAME, (), (ours.dataset_id,))


def test_a_connection_that_does_not_work_hides_nothing_of_the_others(prepared):
    enrichment, key = prepared
    other = enrichment.resources.declaration.model_copy(update={"name": "other"})

    def resources(declaration):
        if declaration.connection == "wrong":
            raise ConnectionInputError("connection 'wrong' is not there")
        return replace(enrichment.resources, declaration=declaration)

    found = report_removed([other.model_copy(update={"connection": "wrong"}), other], {"other"}, resources)
    assert [removed.shards for removed in found.removed] == [(key,)]
    [problem] = found.problems
    assert "'wrong' is not there" in problem


@pytest.mark.parametrize("body", ['{"hello": 1}', '{"shards": {', "[]"])
def test_a_file_that_cannot_be_read_hides_nothing_of_the_others(prepared, body):
    enrichment, key = prepared
    foreign = enrichment.folder / "work" / "foreign" / "open.json"
    foreign.parent.mkdir()
    foreign.write_text(body)
    found = report(enrichment)
    assert [removed.shards for removed in found.removed] == [(key,)]
    [problem, *_] = found.problems
    assert "work/foreign/open.json cannot be read: " in problem
