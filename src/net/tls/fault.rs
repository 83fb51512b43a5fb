//! What went wrong in a handshake, and what to do about it.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// What whoever has no certificate to show should do.
pub const SET_CERTIFICATE: &str = "set `tls.cert_file` and `tls.key_file`";

/// The fault of TLS that an error of a connection is.
pub fn fault(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// The sentence for a server's log; enumerated, so that each can be said seldom.
pub fn explain_client(error: &Error) -> &'static str {
    match error {
        Error::NoCertificatesPresented => "the client shows no certificate, and `client_ca_file` asks for one",
        Error::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the client's certificate comes from an authority that is not in `client_ca_file`"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the client's certificate has expired; renew it, or set this machine's clock"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the client's certificate is not valid yet; is this machine's clock right?"
            }
            _ => "the client's certificate is not good for this",
        },
        Error::InvalidMessage(_) => "the client does not speak TLS; does it say http:// for https://?",
        Error::PeerIncompatible(_) => "client and server have no version or cipher suite of TLS in common",
        Error::NoApplicationProtocol => "the client speaks neither HTTP/2 nor HTTP/1.1",
        Error::AlertReceived(alert) => match alert {
            AlertDescription::UnknownCA | AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
                "the client does not accept this server's certificate; name its authority there, and connect by its name"
            }
            AlertDescription::CertificateExpired => "the client finds this server's certificate expired",
            AlertDescription::ProtocolVersion => "the client speaks other versions of TLS; see `min_version`",
            _ => "the client broke it off",
        },
        _ => "client and server do not agree",
    }
}

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
