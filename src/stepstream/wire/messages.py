"""Messages and their parts."""

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import UNSET

from stepstream.wire.base import Integer, Maybe, Seconds, Unknown, WireObject
from stepstream.wire.objects import IncompleteDetails
from stepstream.wire.statuses import MESSAGE_TERMINAL

ContentType: TypeAlias = Literal["text", "image_file", "image_url", "refusal"]
AnnotationType: TypeAlias = Literal["file_citation", "file_path", "url_citation"]


class FileCitation(WireObject, frozen=True):
    """The file that a passage of the text cites."""

    file_id: Maybe[str] = UNSET
    filename: Maybe[str] = UNSET
    quote: Maybe[str] = UNSET
    """The passage cited; only in older streams, and mostly empty."""


class UrlCitation(WireObject, frozen=True):
    """The page that a passage of the text cites."""

    url: Maybe[str] = UNSET
    title: Maybe[str] = UNSET


class Annotation(WireObject, frozen=True):
    """An annotation of a passage of text: `text` stands at `start_index` to `end_index`, counted in characters."""

    type: Maybe[AnnotationType] = UNSET
    text: Maybe[str] = UNSET
    start_index: Maybe[Integer] = UNSET
    end_index: Maybe[Integer] = UNSET
    file_citation: Maybe[FileCitation] = UNSET
    file_path: Maybe[FileCitation] = UNSET
    url_citation: Maybe[UrlCitation] = UNSET


if TYPE_CHECKING:
    AnyAnnotation: TypeAlias = Annotation | Unknown
else:
    AnyAnnotation = Annotation


class Text(WireObject, frozen=True):
    """A text and its annotations."""

    value: Maybe[str] = UNSET
    annotations: Maybe[tuple[AnyAnnotation, ...]] = UNSET


class ImageFile(WireObject, frozen=True):
    """An image that the server stores; `detail` is auto, low or high."""

    file_id: Maybe[str] = UNSET
    detail: Maybe[str] = UNSET


class ImageUrl(WireObject, frozen=True):
    """An image elsewhere; `detail` is auto, low or high."""

    url: Maybe[str] = UNSET
    detail: Maybe[str] = UNSET


class Content(WireObject, frozen=True):
    """One part of a message, under the key of its type."""

    type: Maybe[ContentType] = UNSET
    text: Maybe[Text] = UNSET
    image_file: Maybe[ImageFile] = UNSET
    image_url: Maybe[ImageUrl] = UNSET
    refusal: Maybe[str] = UNSET


if TYPE_CHECKING:
    AnyContent: TypeAlias = Content | Unknown
else:
    AnyContent = Content


class Message(WireObject, frozen=True):
    """A message of a thread (`thread.message`) at one moment. Times are Unix seconds."""

    id: str
    object: Maybe[str] = UNSET
    created_at: Maybe[Seconds] = UNSET
    thread_id: Maybe[str] = UNSET
    run_id: Maybe[str] = UNSET
    assistant_id: Maybe[str] = UNSET
    status: Maybe[str] = UNSET
    """in_progress, completed, incomplete, or what a newer server sends."""
    incomplete_details: Maybe[IncompleteDetails] = UNSET
    incomplete_at: Maybe[Seconds] = UNSET
    completed_at: Maybe[Seconds] = UNSET
    role: Maybe[str] = UNSET
    content: Maybe[tuple[AnyContent, ...]] = UNSET
    attachments: Maybe[tuple[dict[str, Any], ...]] = UNSET
    metadata: Maybe[dict[str, Any]] = UNSET

    @property
    def is_terminal(self) -> bool:
        """Whether its status is a terminal one."""
        return self.status in MESSAGE_TERMINAL

    @property
    def text(self) -> str:
        """Its text parts, joined."""
        texts = (part.text for part in self.content or () if isinstance(part, Content))
        return "".join(text.value or "" for text in texts if text)
