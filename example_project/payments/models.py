from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone

from apikeys.conf import project_model


class Payment(models.Model):
    """A payment of a project. Callers with ``payments:read`` in the project can see it."""

    number = models.BigAutoField(primary_key=True)
    project = models.ForeignKey(project_model(), models.PROTECT, related_name="payments")
    amount = models.DecimalField(
        max_digits=12, decimal_places=2, validators=[MinValueValidator(0.01)]
    )
    currency = models.CharField(max_length=3, default="EUR")
    description = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["number"]

    def __str__(self) -> str:
        return f"{self.number}: {self.amount} {self.currency}"
