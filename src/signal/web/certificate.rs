//! The HTTPS certificate: read from the operator's files, or made once and kept, so that the
//! exception a browser's user clicked survives a restart. TLS 1.2 and 1.3 (RFC 8446).

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::base::fault::Fault;
use crate::config::{Certificate, Signal};
use crate::os::directory;

/// What the TLS side of every connection shares.
pub(super) fn server_config(signal: &Signal) -> Result<Arc<ServerConfig>, Fault> {
    let (certificate, key) = match &signal.certificate {
        Certificate::Files { certificate, key } => (certificate, key),
        Certificate::SelfSigned { certificate, key } => {
            if !(certificate.exists() && key.exists()) {
                make(signal, certificate, key)?;
            }
            (certificate, key)
        }
    };
    let remedy = "correct [signal].certificate and [signal].key; a self-signed pair can be deleted";
    let unusable = |path: &Path, error: &dyn std::fmt::Display| {
        Fault::new(format!("cannot use the PEM file: {error}"), path.display(), remedy)
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(certificate, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| unusable(certificate, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Makes a self-signed pair for the addresses the page is opened at.
fn make(signal: &Signal, certificate: &Path, key: &Path) -> Result<(), Fault> {
    let names = ["localhost", "127.0.0.1", &signal.domain, &signal.wss.ip().to_string()]
        .map(|name| name.trim_matches(['[', ']']).to_owned());
    let pair = CertificateParams::new(names)
        .and_then(|mut params| {
            params.distinguished_name.push(DnType::CommonName, "linecard, self-signed");
            let key = KeyPair::generate()?;
            Ok((params.self_signed(&key)?, key))
        })
        .map_err(|error| {
            Fault::new(
                format!("cannot make a certificate: {error}"),
                &signal.domain,
                "give [signal].certificate and [signal].key",
            )
        })?;
    write(key, pair.1.serialize_pem().as_bytes())?;
    write(certificate, pair.0.pem().as_bytes())
}

fn write(path: &Path, text: &[u8]) -> Result<(), Fault> {
    path.parent().map_or(Ok(()), directory::make_private)?;
    directory::write_private(path, text).map_err(|error| {
        Fault::new(
            format!("cannot keep the self-signed certificate: {error}"),
            path.display(),
            "make its directory writable, or give [signal].certificate and [signal].key",
        )
    })
}
