//! The bytes of a batch, made once for every form that is asked for and shared by all exporters that ask for the same one.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;

use super::batch::{Batch, Payload};
use super::component::Encoded;
use crate::formats::{Compression, EncodeError, Form, Format, any, compress::compress};

/// What was encoded so far. Clones of a batch share it; changing the batch leaves it behind.
#[derive(Debug, Default)]
pub(super) struct Encodings {
    slots: Mutex<Vec<(Form, Slot)>>,
}

/// Filled by whoever asks first; the others wait for that.
type Slot = Arc<OnceLock<Result<Encoded, EncodeError>>>;

impl Encodings {
    /// The slot is looked up under the lock and filled outside it, so that different forms are made at the same time.
    fn slot(&self, form: Form) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, slot)) = slots.iter().find(|(known, _)| *known == form) {
            return slot.clone();
        }
        let slot = Slot::default();
        slots.push((form, slot.clone()));
        slot
    }
}

/// What most backends take.
const MOST_ENCODED: usize = 64 << 20;

impl Batch {
    /// The whole batch in `form`: the bytes as they came if they are the truth and of that format, else encoded now, once.
    ///
    /// Formats that hold one profile take the first. CPU work: call it on the compute pool.
    pub fn encoded(&self, form: Form) -> Result<Encoded, EncodeError> {
        let slot = self.encodings().slot(form);
        let result = slot.get_or_init(|| {
            // counted before it is there, so that others wait: nothing that was accepted can be refused any more
            let expected = self.expected_bytes(form);
            self.permit().hold(expected);
            let encoded = self.encode(form);
            self.permit().shrink(expected);
            let encoded = encoded?;
            self.permit().hold(encoded.body.len());
            Ok(encoded)
        });
        result.clone()
    }

    /// Most bytes that it may become in any form, before compression: larger ones are cut. Text formats write a name wherever a
    /// stack has it, so little may become very much; an eighth of all memory lets several be under way at once.
    pub fn most_encoded(&self) -> usize {
        MOST_ENCODED.min(self.permit().limit() / 8)
    }

    /// About what encoding takes: what is written, and what is put in order for it, has seldom more bytes than the columns.
    fn expected_bytes(&self, form: Form) -> usize {
        match (
            self.received().filter(|received| received.format == form.format),
            self.payload(),
        ) {
            (Some(received), _) => received.bytes.len(),
            (None, Payload::Profiles(profiles)) => profiles.heap_bytes(),
            (None, Payload::Traces(traces)) => traces.bytes().len(),
        }
    }

    /// Whether these are bytes that the batch made by [`encoded`](Self::encoded), and so holds anyway.
    pub(super) fn shares(&self, body: &Bytes) -> bool {
        let slots = self.encodings().slots.lock().unwrap_or_else(PoisonError::into_inner);
        let made = |(_, slot): &(Form, Slot)| match slot.get() {
            Some(Ok(encoded)) => encoded.body.as_ptr() == body.as_ptr(),
            _ => false,
        };
        slots.iter().any(made)
    }

    fn encode(&self, form: Form) -> Result<Encoded, EncodeError> {
        let plain = match self.received().filter(|received| received.format == form.format) {
            Some(received) => received.bytes.clone(),
            None => self.encode_plain(form.format)?,
        };
        Ok(Encoded {
            plain_bytes: plain.len(),
            body: match form.compression {
                Compression::None => plain,
                compression => compress(&plain, compression).into(),
            },
        })
    }

    fn encode_plain(&self, format: Format) -> Result<Bytes, EncodeError> {
        match (self.payload(), format) {
            (Payload::Profiles(profiles), _) => Ok(any::encode(format, profiles, self.most_encoded())?.into()),
            (Payload::Traces(traces), Format::Otlp) => Ok(traces.bytes().clone()),
            (Payload::Traces(traces), Format::OtlpJson) => Ok(traces.to_json(self.most_encoded())?.into()),
            (Payload::Traces(_), _) => Err(EncodeError::new(format, "holds profiles, not spans")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Limits, pprof};
    use crate::pipeline::{Budget, Origin, Received};
    use crate::testing;

    const ZIPPED: Form = Form {
        format: Format::Otlp,
        compression: Compression::Gzip(6),
    };

    fn batch(budget: &Budget) -> Batch {
        let Ok(read) = any::decode_any(testing::data("go123-heap.pb.gz").into(), &Limits::default()) else {
            panic!("a recording of our own")
        };
        let received = Received {
            format: Format::Pprof,
            bytes: read.plain,
        };
        Batch::profiles(read.decoded, received, Arc::new(Origin::local("test")), budget.permit())
    }

    #[test]
    fn exporters_of_one_form_share_the_bytes_and_the_permit_counts_them_once() {
        let budget = Budget::new(64 << 20);
        let batch = batch(&budget);
        let first = batch.encoded(ZIPPED).unwrap();
        let second = batch.clone().encoded(ZIPPED).unwrap();
        assert_eq!(first.body.as_ptr(), second.body.as_ptr());
        assert_eq!(budget.used(), first.body.len());
        drop(batch);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn an_edit_leaves_the_old_bytes_behind() {
        let mut batch = batch(&Budget::new(64 << 20));
        let before = batch.encoded(ZIPPED).unwrap();
        let profiles = batch.edit().unwrap();
        profiles.edit().1.clear();
        let after = batch.encoded(ZIPPED).unwrap();
        assert!(after.plain_bytes < before.plain_bytes);
    }

    #[test]
    fn received_bytes_go_out_again_only_while_they_are_the_truth() {
        let plain = Form {
            format: Format::Pprof,
            compression: Compression::None,
        };
        let budget = Budget::new(64 << 20);
        let normal = {
            let first = batch(&budget);
            first.encoded(plain).unwrap().body
        };
        let decoded = pprof::decode(&normal, &Limits::default()).unwrap();
        assert!(decoded.exact, "what we write is what we read");
        let received = Received {
            format: Format::Pprof,
            bytes: normal.clone(),
        };
        let mut exact = Batch::profiles(decoded, received, Arc::new(Origin::local("test")), budget.permit());
        assert_eq!(exact.encoded(plain).unwrap().body.as_ptr(), normal.as_ptr());
        exact.edit();
        assert_ne!(exact.encoded(plain).unwrap().body.as_ptr(), normal.as_ptr());
    }
}
