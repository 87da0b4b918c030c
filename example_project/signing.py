"""Create the key that signs JWTs, and keep it beside the demo's database."""

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


def signing_key(path: Path) -> str:
    """Return the PEM key from OIDC_RSA_PRIVATE_KEY or ``path``; create ``path`` if it is missing.

    Processes that start at the same time get the same key.
    """
    if given := os.environ.get("OIDC_RSA_PRIVATE_KEY"):
        return given
    if not path.parent.is_dir():
        return ""  # the database fails there too, with a clearer error
    if not path.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_bytes(pem)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text()
