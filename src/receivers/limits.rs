//! The block `limits:` of every server: how much one request may hold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::formats::Limits;
use crate::pipeline::spec::BuildError;
use crate::pipeline::units::ByteSize;

/// How much one request may hold. What is larger is refused with 413, but for labels: those become `__overflow__`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LimitsConfig {
    /// Largest size after all layers of compression together; that of the body unless set.
    pub decompressed_size: Option<ByteSize>,
    /// How many times its own size one layer of compression may come out as, from 1 MiB on.
    pub compression_ratio: usize,
    /// Layers of compression around a profile.
    pub compression_layers: usize,
    /// Rows of one table: samples, values, strings, locations and so on.
    pub elements: usize,
    /// Frames of one stack.
    pub stack_depth: usize,
    /// Longest string.
    pub string_size: ByteSize,
    /// Depth of nested attribute values.
    pub nesting_depth: usize,
    /// Attributes of one resource or scope.
    pub resource_attributes: usize,
    /// Labels of one sample; the others become one label `__overflow__`.
    pub labels_per_sample: usize,
    /// Longest key of a label; a label with a longer one becomes `__overflow__`.
    pub label_key_size: ByteSize,
    /// Longest value of a label of a sample; a longer one becomes `__overflow__`.
    pub label_value_size: ByteSize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let usual = Limits::USUAL;
        Self {
            decompressed_size: None,
            compression_ratio: usual.ratio,
            compression_layers: usual.nesting,
            elements: usual.elements,
            stack_depth: usual.stack_depth,
            string_size: ByteSize(usual.string_bytes as u64),
            nesting_depth: usual.depth,
            resource_attributes: usual.attributes,
            labels_per_sample: usual.labels,
            label_key_size: ByteSize(usual.label_key_bytes as u64),
            label_value_size: ByteSize(usual.label_value_bytes as u64),
        }
    }
}

/// Tables count their rows in 31 bits, and decoders read at most 1 GiB.
const MOST: usize = 1 << 30;
/// Values are read by recursion.
const DEEPEST: usize = 100;

impl LimitsConfig {
    /// Checks what stands at `path`. `body` is the size of the body as sent.
    pub fn check(&self, path: &str, body: usize) -> Result<Limits, BuildError> {
        let within = |key: &str, number: usize, most: usize| {
            if (1..=most).contains(&number) {
                return Ok(number);
            }
            let message = format!("not a usable limit; write 1 to {most}");
            Err(BuildError::at(format!("{path}.{key}"), message))
        };
        let size = |key: &str, size: ByteSize| within(key, size.as_usize(), MOST);
        Ok(Limits {
            decompressed_bytes: match self.decompressed_size {
                Some(bytes) => size("decompressed_size", bytes)?,
                None => body,
            },
            ratio: within("compression_ratio", self.compression_ratio, MOST)?,
            nesting: within("compression_layers", self.compression_layers, 16)?,
            elements: within("elements", self.elements, MOST)?,
            stack_depth: within("stack_depth", self.stack_depth, MOST)?,
            attributes: within("resource_attributes", self.resource_attributes, MOST)?,
            labels: within("labels_per_sample", self.labels_per_sample, MOST)?,
            label_key_bytes: size("label_key_size", self.label_key_size)?,
            label_value_bytes: size("label_value_size", self.label_value_size)?,
            string_bytes: size("string_size", self.string_size)?,
            depth: within("nesting_depth", self.nesting_depth, DEEPEST)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_decoders() {
        let body = Limits::USUAL.decompressed_bytes;
        assert_eq!(LimitsConfig::default().check("limits", body).unwrap(), Limits::USUAL);
        assert_eq!(
            LimitsConfig::default().check("limits", 7).unwrap().decompressed_bytes,
            7
        );
    }

    #[test]
    fn nothing_is_unlimited() {
        for text in [
            "elements: 0",
            "nesting_depth: 101",
            "decompressed_size: 2GiB",
            "label_key_size: 0",
        ] {
            let config: LimitsConfig = serde_saphyr::from_str(text).unwrap();
            let error = config.check("server.limits", 1).unwrap_err();
            let key = text.split(':').next().unwrap();
            assert_eq!(error.path, format!("server.limits.{key}"));
        }
    }
}
