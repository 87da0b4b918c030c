"""What a program sees of a verified credential."""

from apikeys.mcp.verifier import VerifiedToken


def test_token_is_not_in_the_representation():
    token = VerifiedToken(token="a-secret", client_id="app", scopes=["payments:read"])
    assert token.token == "a-secret"
    for text in (repr(token), str(token), f"{[token]}"):
        assert "app" in text
        assert "a-secret" not in text
