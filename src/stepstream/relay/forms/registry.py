"""The forms that a relay offers."""

from collections.abc import Mapping
from typing import Final

from stepstream.relay.forms.changes import CHANGES
from stepstream.relay.forms.events import EVENTS
from stepstream.relay.forms.form import FormKind

FORMS: Final[Mapping[str, FormKind]] = {form.name: form for form in (EVENTS, CHANGES)}
"""By name."""
