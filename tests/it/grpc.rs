//! A gRPC client that sends bytes as they are, by tonic.

use bytes::{Buf, BufMut, Bytes};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status};

const PATH: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";

/// Messages that nobody looks into.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// A connection to a gate.
pub struct Client(tonic::client::Grpc<tonic::transport::Channel>);

impl Client {
    pub async fn connect(port: u16) -> Self {
        let endpoint = tonic::transport::Endpoint::try_from(format!("http://127.0.0.1:{port}")).unwrap();
        Self(tonic::client::Grpc::new(endpoint.connect().await.unwrap()))
    }

    /// Exports a request of profiles; the answer as it came.
    pub async fn export(&mut self, request: &[u8]) -> Result<Bytes, Status> {
        self.call(PATH, request).await
    }

    /// Begins to export, and sends nothing; how that ends.
    pub async fn never_send(&mut self) -> Status {
        self.0.ready().await.unwrap();
        let request = Request::new(futures_util::stream::pending());
        let answer = self
            .0
            .client_streaming::<_, Bytes, _, _>(request, PATH.parse().unwrap(), Raw);
        answer.await.unwrap_err()
    }

    /// Calls a method; the answer as it came.
    pub async fn call(&mut self, path: &str, request: &[u8]) -> Result<Bytes, Status> {
        self.0.ready().await.unwrap();
        let request = Request::new(Bytes::copy_from_slice(request));
        let answer = self.0.unary(request, path.parse().unwrap(), Raw).await?;
        Ok(answer.into_inner())
    }
}
