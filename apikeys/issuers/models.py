"""The tables of trusted issuers: identities that are linked to users, and what is denied."""

import hashlib
import json
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..databases.primary import PrimaryManager

__all__ = ["Identity"]

#: Later than any token was issued.
ALWAYS: Final = 2**53


def digest(*parts: str) -> str:
    """Return the primary key of a row about ``parts``. It has one length in every database."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Identity(models.Model):
    """The user of a ``subject`` of an ``issuer``: the claims ``sub`` and ``iss`` of a token.

    The same subject of another issuer is another identity. An identity keeps both: saving raises
    ``ValueError`` if one of them has changed.
    """

    id = models.CharField(max_length=64, primary_key=True, editable=False)
    issuer = models.CharField(_("issuer"), max_length=500)
    subject = models.CharField(
        _("subject"), max_length=255, help_text=_("The claim sub of the user's tokens.")
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="external_identities",
        verbose_name=_("user"),
    )
    created_at = models.DateTimeField(
        _("created at"), default=timezone.now, db_index=True, editable=False
    )

    objects = PrimaryManager()

    class Meta:
        verbose_name = _("external identity")
        verbose_name_plural = _("external identities")

    def __str__(self) -> str:
        return self.subject

    def save(self, **kwargs: Any) -> None:
        """Save the identity. Raise ``ValueError`` if its issuer or subject has changed.

        Raise ``IntegrityError`` if another row has both: it must not move to another user.
        """
        pk = identity_digest(self.issuer, self.subject)
        if (self.pk or pk) != pk:
            raise ValueError("An identity keeps its issuer and subject. Create another one.")
        self.pk = pk
        if self._state.adding:
            kwargs["force_insert"] = True
        super().save(**kwargs)

    def clean(self) -> None:
        pk = identity_digest(self.issuer, self.subject)
        if self._state.adding and type(self).objects.filter(pk=pk).exists():
            raise ValidationError(_("This subject of this issuer already has a user."))


class Denial(models.Model):
    """A subject, session or token of an issuer whose tokens are refused."""

    class What(models.TextChoices):
        SUBJECT = "sub", _("subject")
        TOKEN = "jti", _("token")
        SESSION = "sid", _("session")
        NO_SESSION = "no_sid", _("tokens of a subject without a session")

    id = models.CharField(max_length=64, primary_key=True, editable=False)
    issuer = models.CharField(_("issuer"), max_length=500)
    what = models.CharField(_("what"), max_length=8, choices=What.choices)
    value = models.CharField(_("value"), max_length=255)
    #: Tokens that were issued until this time are refused, in seconds since 1970.
    until = models.BigIntegerField(_("issued until"), default=ALWAYS, editable=False)
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    created_at = models.DateTimeField(
        _("created at"), default=timezone.now, db_index=True, editable=False
    )

    objects = PrimaryManager()

    class Meta:
        verbose_name = _("denied token")
        verbose_name_plural = _("denied tokens")

    def __str__(self) -> str:
        return f"{self.get_what_display()} {self.value}"

    def save(self, **kwargs: Any) -> None:
        """Save the denial. Raise ``ValueError`` if its issuer, kind or value has changed."""
        pk = denial_digest(self.what, self.issuer, self.value)
        # Text that was too long or not plain is not stored whole.
        is_whole = len(self.issuer) < 500 and len(self.value) < 255 and "?" not in self.value
        if is_whole and (self.pk or pk) != pk:
            raise ValueError("A denial keeps what it denies. Create another one.")
        self.pk = self.pk or pk
        super().save(**kwargs)


def identity_digest(issuer: str, subject: str) -> str:
    """Return the primary key of an identity."""
    return digest("identity", issuer, subject)


def denial_digest(what: str, issuer: str, value: str) -> str:
    """Return the primary key of a denial."""
    return digest(what, issuer, value)
