from tests.docs import architecture
from tests.docs.reader import UPDATE


def test_the_picture_shows_the_layers_that_are_enforced():
    if UPDATE:
        architecture.PICTURE.write_text(architecture.draw(), encoding="utf-8")
    assert architecture.PICTURE.read_text("utf-8") == architecture.draw(), (
        "Draw it anew with UPDATE_DOCS=1."
    )
