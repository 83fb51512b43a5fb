//! `health`: what a container's health check runs, since its image holds no other program.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use clap::Args;

use super::Failure;

/// Longest wait for each step.
const PATIENCE: Duration = Duration::from_secs(2);

/// What `health` takes.
#[derive(Args)]
pub struct HealthArgs {
    /// Address of the extension health_check
    #[arg(long, default_value = "localhost:13133")]
    endpoint: String,
    /// Its path
    #[arg(long, default_value = "/")]
    path: String,
}

/// Asks; the answer is no if the gate is not ready.
pub fn ask(args: &HealthArgs) -> Result<(), Failure> {
    let status = status(args).map_err(|error| {
        Failure::No(format!(
            "{}: {}; is the gate running, with the extension health_check there?",
            args.endpoint,
            error.kind()
        ))
    })?;
    match status.split(' ').nth(1) {
        Some("200") => Ok(()),
        Some(code) => Err(Failure::No(format!("{}: not ready ({code})", args.endpoint))),
        None => Err(Failure::No(format!(
            "{}: does not answer as a health check",
            args.endpoint
        ))),
    }
}

/// The first line of the answer.
fn status(args: &HealthArgs) -> std::io::Result<String> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in args.endpoint.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return exchange(stream, &args.path),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn exchange(mut stream: TcpStream, path: &str) -> std::io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut head = String::new();
    stream.take(64).read_to_string(&mut head)?;
    Ok(head.lines().next().unwrap_or_default().to_owned())
}
