//! Names, numbers and kinds of the fields of proto 1.10: requests of profiles. Those of spans are in `spans.rs`.

/// The fields of a message.
pub(super) struct Message {
    pub fields: &'static [Field],
}

/// A field.
pub(super) struct Field {
    pub name: &'static str,
    pub number: u32,
    pub kind: Kind,
    pub is_list: bool,
}

/// What a field holds, and how JSON writes it.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A number.
    Int32,
    /// A string of digits.
    Int64,
    /// A string of digits.
    Uint64,
    /// The same, in eight bytes on the wire.
    Fixed64,
    /// A number, in four bytes on the wire.
    Fixed32,
    /// A number, and the names of all there are, which protobuf's own JSON writes instead.
    Enum(&'static [&'static str]),
    Bool,
    Double,
    Text,
    /// Bytes as hex digits.
    Hex,
    /// Bytes in base64.
    Base64,
    Message(&'static Message),
    /// A name that only 1.7 has.
    Of1_7,
    /// A name that only 1.8 has and that no field of 1.10 stands for.
    Lost,
}

pub(super) const fn one(name: &'static str, number: u32, kind: Kind) -> Field {
    Field {
        name,
        number,
        kind,
        is_list: false,
    }
}

pub(super) const fn list(name: &'static str, number: u32, kind: Kind) -> Field {
    Field {
        name,
        number,
        kind,
        is_list: true,
    }
}

use Kind::*;

/// `ExportProfilesServiceRequest`, `ProfilesData`.
pub(super) static REQUEST: Message = Message {
    fields: &[
        list("resourceProfiles", 1, Message(&RESOURCE_PROFILES)),
        one("dictionary", 2, Message(&DICTIONARY)),
    ],
};

static RESOURCE_PROFILES: Message = Message {
    fields: &[
        one("resource", 1, Message(&RESOURCE)),
        list("scopeProfiles", 2, Message(&SCOPE_PROFILES)),
        one("schemaUrl", 3, Text),
    ],
};

static RESOURCE: Message = Message {
    fields: &[
        list("attributes", 1, Message(&KEY_VALUE)),
        one("droppedAttributesCount", 2, Int32),
    ],
};

static SCOPE_PROFILES: Message = Message {
    fields: &[
        one("scope", 1, Message(&SCOPE)),
        list("profiles", 2, Message(&PROFILE)),
        one("schemaUrl", 3, Text),
    ],
};

pub(super) static SCOPE: Message = Message {
    fields: &[
        one("name", 1, Text),
        one("version", 2, Text),
        list("attributes", 3, Message(&KEY_VALUE)),
        one("droppedAttributesCount", 4, Int32),
    ],
};

static PROFILE: Message = Message {
    fields: &[
        one("sampleType", 1, Message(&VALUE_TYPE)),
        list("samples", 2, Message(&SAMPLE)),
        one("timeUnixNano", 3, Fixed64),
        one("durationNano", 4, Uint64),
        one("periodType", 5, Message(&VALUE_TYPE)),
        one("period", 6, Int64),
        one("profileId", 7, Hex),
        one("droppedAttributesCount", 8, Int32),
        one("originalPayloadFormat", 9, Text),
        one("originalPayload", 10, Base64),
        list("attributeIndices", 11, Int32),
        list("sample", 2, Message(&SAMPLE)),
        list("commentStrindices", 0, Lost),
        list("locationIndices", 0, Of1_7),
        one("timeNanos", 0, Of1_7),
        one("durationNanos", 0, Of1_7),
        one("defaultSampleTypeIndex", 0, Of1_7),
    ],
};

static VALUE_TYPE: Message = Message {
    fields: &[one("typeStrindex", 1, Int32), one("unitStrindex", 2, Int32)],
};

static SAMPLE: Message = Message {
    fields: &[
        one("stackIndex", 1, Int32),
        list("attributeIndices", 2, Int32),
        one("linkIndex", 3, Int32),
        list("values", 4, Int64),
        list("timestampsUnixNano", 5, Fixed64),
        one("locationsStartIndex", 0, Of1_7),
        one("locationsLength", 0, Of1_7),
    ],
};

static DICTIONARY: Message = Message {
    fields: &[
        list("mappingTable", 1, Message(&MAPPING)),
        list("locationTable", 2, Message(&LOCATION)),
        list("functionTable", 3, Message(&FUNCTION)),
        list("linkTable", 4, Message(&LINK)),
        list("stringTable", 5, Text),
        list("attributeTable", 6, Message(&KEY_VALUE_AND_UNIT)),
        list("stackTable", 7, Message(&STACK)),
        list("attributeUnits", 0, Of1_7),
    ],
};

static MAPPING: Message = Message {
    fields: &[
        one("memoryStart", 1, Uint64),
        one("memoryLimit", 2, Uint64),
        one("fileOffset", 3, Uint64),
        one("filenameStrindex", 4, Int32),
        list("attributeIndices", 5, Int32),
    ],
};

static LOCATION: Message = Message {
    fields: &[
        one("mappingIndex", 1, Int32),
        one("address", 2, Uint64),
        list("lines", 3, Message(&LINE)),
        list("attributeIndices", 4, Int32),
        list("line", 3, Message(&LINE)),
    ],
};

static LINE: Message = Message {
    fields: &[
        one("functionIndex", 1, Int32),
        one("line", 2, Int64),
        one("column", 3, Int64),
    ],
};

static FUNCTION: Message = Message {
    fields: &[
        one("nameStrindex", 1, Int32),
        one("systemNameStrindex", 2, Int32),
        one("filenameStrindex", 3, Int32),
        one("startLine", 4, Int64),
    ],
};

static LINK: Message = Message {
    fields: &[one("traceId", 1, Hex), one("spanId", 2, Hex)],
};

static KEY_VALUE_AND_UNIT: Message = Message {
    fields: &[
        one("keyStrindex", 1, Int32),
        one("value", 2, Message(&ANY_VALUE)),
        one("unitStrindex", 3, Int32),
    ],
};

static STACK: Message = Message {
    fields: &[list("locationIndices", 1, Int32)],
};

pub(super) static KEY_VALUE: Message = Message {
    fields: &[
        one("key", 1, Text),
        one("value", 2, Message(&ANY_VALUE)),
        one("keyStrindex", 3, Int32),
    ],
};

static ANY_VALUE: Message = Message {
    fields: &[
        one("stringValue", 1, Text),
        one("boolValue", 2, Bool),
        one("intValue", 3, Int64),
        one("doubleValue", 4, Double),
        one("arrayValue", 5, Message(&ARRAY_VALUE)),
        one("kvlistValue", 6, Message(&KEY_VALUE_LIST)),
        one("bytesValue", 7, Base64),
        one("stringValueStrindex", 8, Int32),
    ],
};

static ARRAY_VALUE: Message = Message {
    fields: &[list("values", 1, Message(&ANY_VALUE))],
};

static KEY_VALUE_LIST: Message = Message {
    fields: &[list("values", 1, Message(&KEY_VALUE))],
};

impl Message {
    /// The field of a name, in lowerCamelCase or snake_case.
    pub fn by_name(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| is_same_name(field.name, name))
    }

    /// The field of a number, by its newest name.
    pub fn by_number(&self, number: u32) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.number == number)
    }
}

fn is_same_name(camel: &str, name: &str) -> bool {
    if !name.contains('_') {
        return camel == name;
    }
    let mut rest = name.bytes();
    for letter in camel.bytes() {
        if letter.is_ascii_uppercase() && rest.next() != Some(b'_') {
            return false;
        }
        if rest.next() != Some(letter.to_ascii_lowercase()) {
            return false;
        }
    }
    rest.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_cases_name_a_field() {
        let number = |name| PROFILE.by_name(name).map(|field| field.number);
        assert_eq!(number("timeUnixNano"), Some(3));
        assert_eq!(number("time_unix_nano"), Some(3));
        for wrong in [
            "timeunixnano",
            "time_unixNano",
            "time_unix_nano_",
            "_time_unix_nano",
            "",
        ] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }
}
