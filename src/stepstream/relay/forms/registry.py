"""The forms that a relay offers."""

from collections.abc import Mapping
from typing import Final

from stepstream.relay.forms.ag_ui import AG_UI
from stepstream.relay.forms.ai_sdk import AI_SDK
from stepstream.relay.forms.changes import CHANGES
from stepstream.relay.forms.events import EVENTS
from stepstream.relay.forms.form import FormKind
from stepstream.relay.forms.view import VIEW_FORM

FORMS: Final[Mapping[str, FormKind]] = {form.name: form for form in (EVENTS, CHANGES, VIEW_FORM, AG_UI, AI_SDK)}
"""By name."""


def form_named(form: str | FormKind, forms: Mapping[str, FormKind] = FORMS) -> FormKind:
    """Return the form of that name; one that is given as it is.

    Raises:
        ValueError: there is none.
    """
    kind = forms.get(form) if isinstance(form, str) else form
    if kind is None:
        raise ValueError(f"expected form as one of {', '.join(forms)}, got {form!r}")
    return kind
