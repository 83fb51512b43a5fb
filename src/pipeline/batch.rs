//! What flows: a payload, where it came from, what it stands for, and the memory it holds.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::budget::Permit;
use super::encoding::Encodings;
use super::follow::Followers;
use crate::formats::otlp::Traces;
use crate::formats::{Decoded, Format};
use crate::profile::Profiles;
use crate::telemetry::Signal;

/// One request on its way through the gate. Cloning is cheap; fan-out copies nothing.
#[derive(Clone, Debug)]
pub struct Batch {
    payload: Payload,
    received: Option<Received>,
    origin: Arc<Origin>,
    weight: u64,
    piece: u32,
    permit: Permit,
    encodings: Arc<Encodings>,
    followers: Followers,
}

/// What a batch carries.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Profiles, decoded.
    Profiles(Profiles),
    /// Spans: an OTLP request that passes as it came.
    Traces(Traces),
}

/// The decompressed bytes as they came, while they are still the truth.
#[derive(Clone, Debug)]
pub struct Received {
    /// Their format.
    pub format: Format,
    /// The bytes.
    pub bytes: Bytes,
}

/// Where a batch came from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Id of the receiver.
    pub receiver: Arc<str>,
    /// Address of the sender.
    pub peer: Option<std::net::SocketAddr>,
    /// Whose data it is: the credential's, else that of a trusted peer's header, else `default`.
    pub tenant: Arc<str>,
    /// When it came.
    pub arrived: SystemTime,
}

impl Origin {
    /// An origin without a peer: files, the quickstart, tests.
    pub fn local(receiver: &str) -> Self {
        Self {
            receiver: receiver.into(),
            peer: None,
            tenant: "default".into(),
            arrived: SystemTime::now(),
        }
    }
}

impl Batch {
    /// A batch of profiles just decoded. `received` are the bytes they were decoded from.
    ///
    /// OTLP is kept as it came only if it is as compact as we would send it: equal rows and orphans do not pass.
    pub fn profiles(decoded: Decoded, received: Received, origin: Arc<Origin>, permit: Permit) -> Self {
        let mut profiles = decoded.profiles;
        let weight = profiles.received_count();
        let truth = decoded.exact && !(received.format == Format::Otlp && profiles.compact());
        Self {
            weight,
            received: truth.then_some(received),
            payload: Payload::Profiles(profiles),
            origin,
            piece: 0,
            permit,
            encodings: Arc::default(),
            followers: Followers::default(),
        }
    }

    /// A batch of spans that came as `received`.
    pub fn traces(traces: Traces, received: Received, origin: Arc<Origin>, permit: Permit) -> Self {
        Self {
            weight: traces.count(),
            // of protobuf, the payload is what came
            received: (received.format != Format::Otlp).then_some(received),
            payload: Payload::Traces(traces),
            origin,
            piece: 0,
            permit,
            encodings: Arc::default(),
            followers: Followers::default(),
        }
    }

    /// A batch made here, of profiles that no received bytes stand for. `weight` says how many received profiles it carries on.
    pub fn made(profiles: Profiles, weight: u64, origin: Arc<Origin>, permit: Permit) -> Self {
        Self {
            payload: Payload::Profiles(profiles),
            received: None,
            origin,
            weight,
            piece: 0,
            permit,
            encodings: Arc::default(),
            followers: Followers::default(),
        }
    }

    /// What it carries.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The profiles it carries; none if it carries spans.
    pub fn as_profiles(&self) -> Option<&Profiles> {
        match &self.payload {
            Payload::Profiles(profiles) => Some(profiles),
            Payload::Traces(_) => None,
        }
    }

    /// The spans it carries; none if it carries profiles.
    pub fn as_traces(&self) -> Option<&Traces> {
        match &self.payload {
            Payload::Traces(traces) => Some(traces),
            Payload::Profiles(_) => None,
        }
    }

    /// The same batch with other spans, which stand for so many of those received.
    pub(super) fn with_traces(self, traces: Traces, weight: u64) -> Self {
        Self {
            payload: Payload::Traces(traces),
            received: None,
            weight,
            encodings: Arc::default(),
            ..self
        }
    }

    /// The same batch with its spans written anew: as many, of the same requests.
    pub fn rewritten(self, traces: Traces) -> Self {
        let (weight, own) = (self.weight, self.permit.sibling());
        own.hold(traces.bytes().len());
        self.with_traces(traces, weight).held_by(own)
    }

    /// The same batch, whose memory another permit holds.
    pub(super) fn held_by(self, permit: Permit) -> Self {
        Self { permit, ..self }
    }

    /// What kind of data it carries.
    pub fn signal(&self) -> Signal {
        match &self.payload {
            Payload::Profiles(_) => Signal::Profiles,
            Payload::Traces(_) => Signal::Traces,
        }
    }

    /// Whether it carries nothing.
    pub fn is_empty(&self) -> bool {
        match &self.payload {
            Payload::Profiles(profiles) => profiles.is_empty(),
            Payload::Traces(traces) => traces.count() == 0,
        }
    }

    /// Samples in it, or spans.
    pub fn items(&self) -> u64 {
        match &self.payload {
            Payload::Profiles(profiles) => profiles.sample_count() as u64,
            Payload::Traces(traces) => traces.count(),
        }
    }

    /// The profiles, to be changed: from now on the received bytes are no longer the truth.
    pub fn edit(&mut self) -> Option<&mut Profiles> {
        match &mut self.payload {
            Payload::Profiles(profiles) => {
                self.received = None;
                self.encodings = Arc::default();
                Some(profiles)
            }
            Payload::Traces(_) => None,
        }
    }

    /// Removes what nothing refers to and joins what is equal; done once, at the end of the chain. A batch that is no longer
    /// what came holds its own memory, beside that of the others made of the same request.
    pub fn compact(&mut self) {
        if self.received.is_none()
            && let Payload::Profiles(profiles) = &mut self.payload
        {
            let own = self.permit.sibling();
            // what is made is no larger than what it is made of, and is counted before it is there
            let most = profiles.heap_bytes();
            own.hold(most);
            profiles.compact();
            own.shrink(most);
            own.hold(profiles.heap_bytes());
            self.permit = own;
        }
    }

    /// The bytes as they came, if they still are the truth.
    pub fn received(&self) -> Option<&Received> {
        self.received.as_ref()
    }

    /// Where it came from.
    pub fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// How many received profiles, or spans, it stands for: the unit of conservation.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// The same batch standing for another number of them.
    pub fn with_weight(self, weight: u64) -> Self {
        Self { weight, ..self }
    }

    /// Which piece of a whole it is, 0 for the whole itself: no two pieces that a whole was cut into have the same number.
    /// For backends that take two profiles of one series and one time for one.
    pub fn piece(&self) -> u32 {
        self.piece
    }

    /// The same batch as another piece.
    pub(super) fn with_piece(self, piece: u32) -> Self {
        Self { piece, ..self }
    }

    /// Who waits to hear what becomes of it.
    pub fn followers(&self) -> &Followers {
        &self.followers
    }

    /// The same batch, with these who wait to hear.
    pub fn followed_by(self, followers: Followers) -> Self {
        Self { followers, ..self }
    }

    /// Bytes it occupies: columns, and the received bytes while they are kept.
    pub fn held_bytes(&self) -> usize {
        let payload = match &self.payload {
            Payload::Profiles(profiles) => profiles.heap_bytes(),
            Payload::Traces(traces) => traces.bytes().len(),
        };
        payload + self.received.as_ref().map_or(0, |received| received.bytes.len())
    }

    pub(super) fn encodings(&self) -> &Encodings {
        &self.encodings
    }

    /// The memory it holds.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Limits, any, otlp};
    use crate::testing;

    /// The bytes as kept for a request that came as `bytes`.
    fn kept(bytes: Bytes) -> bool {
        let decoded = otlp::decode(&bytes, &Limits::default(), otlp::WireVersion::default()).unwrap();
        let received = Received {
            format: Format::Otlp,
            bytes,
        };
        let batch = Batch::profiles(decoded, received, Arc::new(Origin::local("test")), Permit::unlimited());
        batch.received().is_some()
    }

    #[test]
    fn weight_is_counted_in_profiles_as_they_came() {
        let pprof = testing::data("go123-heap.pb.gz");
        let Ok(read) = any::decode_any(pprof.into(), &Limits::default()) else {
            panic!("a recording of our own")
        };
        let weight = |decoded: Decoded, format| {
            let bytes = Bytes::new();
            let origin = Arc::new(Origin::local("test"));
            Batch::profiles(decoded, Received { format, bytes }, origin, Permit::unlimited()).weight()
        };
        let by_otlp = Decoded {
            profiles: testing::heap_by_otlp(),
            ..Decoded::default()
        };
        assert_eq!(weight(read.decoded, Format::Pprof), 1);
        assert_eq!(weight(by_otlp, Format::Otlp), 4);
    }

    #[test]
    fn otlp_is_passed_on_as_it_came_only_if_it_is_compact() {
        assert!(!kept(testing::data("node20-wall-cpu-links.otlp").into()));
        let native = testing::data("ap-cpu-native.otlp");
        let decoded = otlp::decode(&native, &Limits::default(), otlp::WireVersion::default()).unwrap();
        let tight = Bytes::from(otlp::encode(&decoded.profiles));
        assert!(kept(tight), "what we write is what we would send");
    }
}
