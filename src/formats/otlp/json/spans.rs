//! Names, numbers and kinds of the fields of requests of spans.

use super::schema::Kind::*;
use super::schema::{KEY_VALUE, Message, SCOPE, list, one};

/// `ExportTraceServiceRequest`, `TracesData`.
pub(super) static REQUEST: Message = Message {
    fields: &[list("resourceSpans", 1, Message(&RESOURCE_SPANS))],
};

static RESOURCE_SPANS: Message = Message {
    fields: &[
        one("resource", 1, Message(&RESOURCE)),
        list("scopeSpans", 2, Message(&SCOPE_SPANS)),
        one("schemaUrl", 3, Text),
    ],
};

static RESOURCE: Message = Message {
    fields: &[
        list("attributes", 1, Message(&KEY_VALUE)),
        one("droppedAttributesCount", 2, Int32),
        list("entityRefs", 3, Message(&ENTITY_REF)),
    ],
};

static ENTITY_REF: Message = Message {
    fields: &[
        one("schemaUrl", 1, Text),
        one("type", 2, Text),
        list("idKeys", 3, Text),
        list("descriptionKeys", 4, Text),
    ],
};

static SCOPE_SPANS: Message = Message {
    fields: &[
        one("scope", 1, Message(&SCOPE)),
        list("spans", 2, Message(&SPAN)),
        one("schemaUrl", 3, Text),
    ],
};

static SPAN: Message = Message {
    fields: &[
        one("traceId", 1, Hex),
        one("spanId", 2, Hex),
        one("traceState", 3, Text),
        one("parentSpanId", 4, Hex),
        one("name", 5, Text),
        one("kind", 6, Enum(&SPAN_KINDS)),
        one("startTimeUnixNano", 7, Fixed64),
        one("endTimeUnixNano", 8, Fixed64),
        list("attributes", 9, Message(&KEY_VALUE)),
        one("droppedAttributesCount", 10, Int32),
        list("events", 11, Message(&EVENT)),
        one("droppedEventsCount", 12, Int32),
        list("links", 13, Message(&LINK)),
        one("droppedLinksCount", 14, Int32),
        one("status", 15, Message(&STATUS)),
        one("flags", 16, Fixed32),
    ],
};

static SPAN_KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

static EVENT: Message = Message {
    fields: &[
        one("timeUnixNano", 1, Fixed64),
        one("name", 2, Text),
        list("attributes", 3, Message(&KEY_VALUE)),
        one("droppedAttributesCount", 4, Int32),
    ],
};

static LINK: Message = Message {
    fields: &[
        one("traceId", 1, Hex),
        one("spanId", 2, Hex),
        one("traceState", 3, Text),
        list("attributes", 4, Message(&KEY_VALUE)),
        one("droppedAttributesCount", 5, Int32),
        one("flags", 6, Fixed32),
    ],
};

static STATUS: Message = Message {
    fields: &[one("message", 2, Text), one("code", 3, Enum(&STATUS_CODES))],
};

static STATUS_CODES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];
