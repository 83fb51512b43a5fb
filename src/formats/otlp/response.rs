//! `ExportProfilesServiceResponse` and `ExportTraceServiceResponse`, which differ in one name only: what the sender of a request
//! is told.

use crate::formats::wire::Writer;

/// The response in protobuf. Empty if nothing was rejected and nothing is to be said.
pub fn response(rejected: i64, message: &str) -> Vec<u8> {
    let mut out = Writer::default();
    if rejected != 0 || !message.is_empty() {
        out.message(1, |partial| {
            partial.int(1, rejected);
            partial.bytes(2, message.as_bytes());
        });
    }
    out.finish()
}

/// The same in OTLP/JSON, with the `name` that the number has there: `rejectedProfiles` or `rejectedSpans`.
pub fn response_json(name: &str, rejected: i64, message: &str) -> Vec<u8> {
    let response = match (rejected, message) {
        (0, "") => serde_json::json!({}),
        (0, message) => serde_json::json!({ "partialSuccess": { "errorMessage": message } }),
        // 64-bit numbers are strings in protobuf's JSON
        (rejected, "") => serde_json::json!({ "partialSuccess": { name: rejected.to_string() } }),
        (rejected, message) => serde_json::json!({
            "partialSuccess": { name: rejected.to_string(), "errorMessage": message }
        }),
    };
    response.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceResponse;
    use prost::Message;

    #[test]
    fn the_oracle_reads_what_was_rejected() {
        let read = ExportProfilesServiceResponse::decode(response(3, "why").as_slice()).unwrap();
        let partial = read.partial_success.unwrap();
        assert_eq!((partial.rejected_profiles, partial.error_message.as_str()), (3, "why"));
        assert_eq!(response(0, ""), b"");
    }

    #[test]
    fn json_says_the_same() {
        let text = |rejected, message| String::from_utf8(response_json("rejectedProfiles", rejected, message)).unwrap();
        assert_eq!(text(0, ""), "{}");
        assert_eq!(text(0, "note"), r#"{"partialSuccess":{"errorMessage":"note"}}"#);
        assert_eq!(
            text(3, "a \"quote\""),
            r#"{"partialSuccess":{"errorMessage":"a \"quote\"","rejectedProfiles":"3"}}"#
        );
    }
}
