//! Listening sockets that outlive their receiver: while one server still has a socket, the next one of the same owner shares
//! it, so that no connection is refused when a reload replaces a receiver.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::endpoint::{BindError, Endpoint};

/// The sockets of one endpoint, open while anybody holds them.
pub(super) type Held = Arc<Vec<TcpListener>>;

struct Known {
    owner: String,
    endpoint: Endpoint,
    sockets: Weak<Vec<TcpListener>>,
}

static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());

/// The sockets that `owner` has on this endpoint already, else new ones. Port 0 is a new port every time.
pub(super) async fn take(owner: &str, endpoint: &Endpoint) -> Result<Held, BindError> {
    if let Some(held) = find(owner, endpoint) {
        return Ok(held);
    }
    let mut sockets = Vec::new();
    for socket in endpoint.bind().await? {
        let socket = socket.into_std();
        sockets.push(socket.map_err(|source| endpoint.refused(source))?);
    }
    let held: Held = Arc::new(sockets);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|known| known.sockets.strong_count() > 0);
    known.push(Known {
        owner: owner.to_owned(),
        endpoint: endpoint.clone(),
        sockets: Arc::downgrade(&held),
    });
    Ok(held)
}

fn find(owner: &str, endpoint: &Endpoint) -> Option<Held> {
    if endpoint.is_any_port() {
        return None;
    }
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let same = |known: &&Known| known.owner == owner && known.endpoint == *endpoint;
    known.iter().filter(same).find_map(|known| known.sockets.upgrade())
}
