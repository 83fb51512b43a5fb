//! `health`: what a container's health check runs, since its image holds no other program.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use clap::Args;

use super::Failure;
use crate::config::io_reason;

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
    let no = |why: String| Failure::No(format!("{}: {why}", args.endpoint));
    let status = status(args).map_err(no)?;
    let code = status.strip_prefix("HTTP/").and_then(|rest| rest.split(' ').nth(1));
    match code {
        Some("200") => Ok(()),
        Some(code) => Err(no(format!("not ready ({code})"))),
        None => Err(no(
            "does not answer as a health check; is that its port, and does it speak plain HTTP?".to_owned(),
        )),
    }
}

/// The first line of the answer, or why there is none.
fn status(args: &HealthArgs) -> Result<String, String> {
    let mut trouble = "the host has no address".to_owned();
    for address in addresses(&args.endpoint)? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return exchange(stream, &args.path).map_err(|error| unanswered(&error)),
            Err(error) => trouble = io_reason(&error),
        }
    }
    Err(format!(
        "{trouble}; is the gate running, with the extension health_check there?"
    ))
}

fn addresses(endpoint: &str) -> Result<impl Iterator<Item = SocketAddr>, String> {
    endpoint.to_socket_addrs().map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => "not an address; write HOST:PORT, such as localhost:13133".to_owned(),
        _ => format!(
            "the host is not found: {}; write one that is known here, such as localhost",
            io_reason(&error)
        ),
    })
}

fn exchange(mut stream: TcpStream, path: &str) -> std::io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let read = stream.take(64).read_to_end(&mut head);
    if head.is_empty() {
        read?;
    }
    let head = String::from_utf8_lossy(&head);
    Ok(head.lines().next().unwrap_or_default().to_owned())
}

/// Why there is a connection and no answer.
fn unanswered(error: &std::io::Error) -> String {
    match error.kind() {
        // what a timeout is called differs from system to system
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!(
                "takes connections, and does not answer within {PATIENCE:?}; is the gate overloaded, or another program there?"
            )
        }
        // what is not spoken to in its own protocol may hang up before it is asked
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {
            "hangs up; is that its port, and does it speak plain HTTP?".to_owned()
        }
        _ => format!("{}; is another program there?", io_reason(error)),
    }
}
