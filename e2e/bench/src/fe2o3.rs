//! A server that accepts whatever it is sent over AMQP and keeps nothing: the acceptor of the crate fe2o3-amqp, behind TLS as the hub's.
//!
//! `bench-fe2o3 ADDRESS CERTIFICATE KEY`. Each connection has a task, each session and each link one more, as its examples have it.

use std::env;
use std::sync::Arc;

use anyhow::{Context, Result};
use fe2o3_amqp::Receiver;
use fe2o3_amqp::acceptor::{
    ConnectionAcceptor, LinkAcceptor, LinkEndpoint, ListenerSessionHandle, SaslAnonymousMechanism, SessionAcceptor,
};
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::types::messaging::Body;
use fe2o3_amqp::types::primitives::Value;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// As many as the hub lets a device have in flight.
const CREDIT: u32 = 1000;

#[tokio::main]
async fn main() -> Result<()> {
    let [address, chain, key] = env::args().skip(1).collect::<Vec<_>>().try_into().ok().context("an address, a certificate and a key")?;
    let chain = CertificateDer::pem_file_iter(chain)?.collect::<Result<Vec<_>, _>>()?;
    let tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    let tls = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind(address).await?;
    loop {
        let (tcp, _) = listener.accept().await?;
        let tls = tls.clone();
        // Whoever breaks off is gone: there is nobody to tell.
        tokio::spawn(async move { serve(tcp, tls).await.ok() });
    }
}

async fn serve(tcp: TcpStream, tls: TlsAcceptor) -> Result<()> {
    tcp.set_nodelay(true)?;
    let stream = tls.accept(tcp).await?;
    let acceptor = ConnectionAcceptor::builder().container_id("fe2o3").sasl_acceptor(SaslAnonymousMechanism {}).build();
    let mut connection = acceptor.accept(stream).await?;
    let sessions = SessionAcceptor::new();
    while let Ok(session) = sessions.accept(&mut connection).await {
        tokio::spawn(serve_session(session));
    }
    Ok(())
}

async fn serve_session(mut session: ListenerSessionHandle) {
    let links = LinkAcceptor::new();
    let mut senders = Vec::new();
    while let Ok(link) = links.accept(&mut session).await {
        match link {
            LinkEndpoint::Receiver(receiver) => drop(tokio::spawn(accept_all(receiver))),
            // It has nothing to send.
            LinkEndpoint::Sender(sender) => senders.push(sender),
        }
    }
}

async fn accept_all(mut receiver: Receiver) -> Result<()> {
    receiver.set_credit_mode(CreditMode::Auto(CREDIT));
    receiver.set_credit(CREDIT).await?;
    loop {
        let delivery = receiver.recv::<Body<Value>>().await?;
        receiver.accept(&delivery).await?;
    }
}
