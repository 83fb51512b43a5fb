//! What went wrong in a handshake, and what to do about it.

use rustls::{AlertDescription, CertificateError, Error};

/// The sentence for a client's log.
pub fn explain(error: &Error) -> String {
    let known = match error {
        Error::InvalidCertificate(why) => certificate(why),
        Error::InvalidMessage(_) => {
            Some("the server does not speak TLS there; is its address http:// (or `tls.insecure: true`)?")
        }
        Error::AlertReceived(alert) => received(*alert),
        Error::PeerIncompatible(_) => Some("client and server have no version or cipher suite of TLS in common"),
        Error::NoApplicationProtocol => Some("the server does not speak HTTP/2 there"),
        _ => None,
    };
    known.map_or_else(|| error.to_string(), str::to_owned)
}

/// The same for a fault of which HTTP/2 kept the text alone: a server of TLS 1.3 refuses a client after the handshake.
pub fn recognise(text: &str) -> Option<&'static str> {
    let mut alerts = REFUSALS
        .iter()
        .copied()
        .filter(|alert| Error::AlertReceived(*alert).to_string() == text);
    received(alerts.next()?)
}

/// What a server says to a client whose certificate it does not take.
const REFUSALS: &[AlertDescription] = &[
    AlertDescription::CertificateRequired,
    AlertDescription::UnknownCA,
    AlertDescription::BadCertificate,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::DecryptError,
    AlertDescription::AccessDenied,
];

fn certificate(why: &CertificateError) -> Option<&'static str> {
    match why {
        // the latter from an authority that bears the name of a trusted one
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Some(
            "the server's certificate comes from an authority that is not trusted here; name that in `tls.ca_file`",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Some(
            "the server's certificate is for other names; connect by one of those, or set `tls.server_name_override`",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Some("the server's certificate has expired; renew it, or set this machine's clock")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Some("the server's certificate is not valid yet; is this machine's clock right?")
        }
        _ => None,
    }
}

fn received(alert: AlertDescription) -> Option<&'static str> {
    match alert {
        AlertDescription::CertificateRequired => {
            Some("the server asks for a client certificate; set `tls.cert_file` and `tls.key_file`")
        }
        AlertDescription::ProtocolVersion => Some("the server speaks other versions of TLS; see `tls.min_version`"),
        AlertDescription::NoApplicationProtocol => Some("the server does not speak HTTP/2 there"),
        _ if REFUSALS.contains(&alert) => {
            Some("the server does not accept the client certificate; check `tls.cert_file` and who issued it")
        }
        _ => None,
    }
}
