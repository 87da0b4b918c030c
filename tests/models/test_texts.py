"""Each text about a key is declared by its column alone."""

from apikeys.models import KEY_MODELS
from apikeys.models.texts import OPTIONAL, TEXTS, OptionalTexts


def test_mint_and_edit_take_every_optional_text():
    assert set(OptionalTexts.__annotations__) == set(OPTIONAL)


def test_every_text_has_an_index_that_a_search_uses():
    for model in KEY_MODELS.values():
        assert set(TEXTS) <= {index.fields[0] for index in model._meta.indexes}


def test_rows_of_an_older_version_need_no_optional_text():
    for column in OPTIONAL.values():
        assert column.db_default == column.default == ""
