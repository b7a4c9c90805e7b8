from vision_batch.steps.notes import MOST_KINDS, ImageNotes


def test_each_kind_is_told_with_its_number_and_its_first_image():
    notes = ImageNotes()
    notes.add("a.gif", ("the first of several frames or pages", "transparency put on white"))
    notes.add("b.png", ())
    notes.add("c.gif", ("the first of several frames or pages",))
    assert notes.lines() == [
        "2 images: the first of several frames or pages, such as a.gif",
        "1 image: transparency put on white, such as a.gif",
    ]


def test_notes_that_differ_in_a_size_only_are_of_one_kind():
    notes = ImageNotes()
    for side in range(1, 100):
        notes.add(f"{side}.png", (f"white margins around {side}x7",))
    assert notes.lines() == ["99 images: white margins around 1x7, such as 1.png"]


def test_a_log_stays_short_whatever_is_noted():
    notes = ImageNotes()
    for number in range(100):
        notes.add("a.png", (f"note {number}",))
    lines = notes.lines()
    assert len(lines) == MOST_KINDS + 1
    assert lines[-1] == "90 more kinds of notes"


def test_nothing_noted_is_nothing_told():
    assert ImageNotes().lines() == []
