//! From a bound port to encrypted connections: bind, accept, PROXY header, admission, TLS, hand over.
//!
//! Owns the accept loop and the time that all this may take. Never speaks a protocol.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::admission::{Admission, Admissions};
use super::metered::Metered;
use super::proxy_protocol::{self, ProxySources};
use super::refusals::Refusal;
use super::tls::ServerNames;
use crate::core::certificate::PresentedChain;

/// Connections that the kernel keeps until they are accepted: a fleet that comes back at once. (The kernel's own bound is somaxconn.)
const BACKLOG: u32 = 4096;

/// After which silence the kernel asks a client that speaks HTTP whether it is still there.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(60);

/// How long such a client may take nothing of what it is sent, or answer nothing: long enough for somebody who looks at a page of events.
const NOTHING_TAKEN_MAX: Duration = Duration::from_secs(120);

/// How long accepting rests when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An encrypted stream, held to its stranger's limits.
pub type Stream = TlsStream<Metered<TcpStream>>;

/// A port that can't be listened on. Displays what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Ports below 1024 are not for everybody.
    #[error("port {} on {} may not be bound by this user: grant the program the right (setcap cap_net_bind_service=+ep), or choose a port above 1023", .0.port(), .0.ip())]
    NotAllowed(SocketAddr),
    /// Somebody else is there.
    #[error("port {} on {} is in use: stop the program that has it (ss -ltnp 'sport = :{}' names it), or choose another port", .0.port(), .0.ip(), .0.port())]
    InUse(SocketAddr),
    /// The address is of no interface here.
    #[error("{} is no address of this machine, so port {} can't be bound on it", .0.ip(), .0.port())]
    NoSuchAddress(SocketAddr),
    /// Anything else.
    #[error("port {} on {} can't be bound", .address.port(), .address.ip())]
    Other {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Starts to listen. Port 0 is any free one.
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restart must not wait for the connections of the run before.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source: io::Error| match source.kind() {
        io::ErrorKind::PermissionDenied => BindError::NotAllowed(address),
        io::ErrorKind::AddrInUse => BindError::InUse(address),
        io::ErrorKind::AddrNotAvailable => BindError::NoSuchAddress(address),
        _ => BindError::Other { address, source },
    })
}

/// One peer, encrypted, not authenticated.
pub struct Connection {
    /// To speak over.
    pub stream: Stream,
    /// Where it comes from: behind a believed proxy what that says; IPv4-mapped addresses as IPv4.
    pub peer: SocketAddr,
    /// To be told when the peer has proved who it is.
    pub admission: Admission,
}

impl Connection {
    /// The application protocol agreed on, such as `h2`.
    #[must_use]
    pub fn application_protocol(&self) -> Option<&[u8]> {
        self.stream.get_ref().1.alpn_protocol()
    }

    /// The certificate that the client presented, if it has one. That it has the key, too, was found out in the handshake; whether the
    /// certificate is good for anything was not asked.
    #[must_use]
    pub fn client_certificate(&self) -> Option<PresentedChain> {
        let chain = self.stream.get_ref().1.peer_certificates()?;
        Some(PresentedChain::new(chain.iter().map(AsRef::as_ref)))
    }
}

/// What stands between a port and a protocol.
pub struct Front {
    /// The listener's name in logs.
    pub name: &'static str,
    /// How connections are encrypted.
    pub tls: Arc<ServerConfig>,
    /// The names that clients may ask for; the same that `tls` knows.
    pub names: ServerNames,
    /// Who comes in.
    pub admissions: Arc<Admissions>,
    /// Whose PROXY protocol headers are believed.
    pub proxies: ProxySources,
    /// From accepting to encrypted.
    pub handshake_time: Duration,
    /// Whether the kernel finds out which clients are gone. Not for MQTT, which does so itself, as rarely as each device wishes: many
    /// live on batteries.
    pub kernel_keeps_alive: bool,
}

impl Front {
    /// Accepts until `stop`, and hands each encrypted connection to `serve`, a task per connection. Returns when all of them have ended;
    /// `serve` has to see `stop` for itself.
    pub async fn accept<Serve, Served>(self, listener: TcpListener, stop: CancellationToken, serve: Serve)
    where
        Serve: Fn(Connection) -> Served + Clone + Send + Sync + 'static,
        Served: Future<Output = ()> + Send + 'static,
    {
        let front = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => front.note(ended),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        connections.spawn(Arc::clone(&front).run(stream, peer, stop.clone(), serve.clone()));
                    }
                    Err(error) => front.pause(&error).await,
                },
            }
        }
        drop(listener);
        while let Some(ended) = connections.join_next().await {
            front.note(ended);
        }
    }

    async fn run<Serve, Served>(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, stop: CancellationToken, serve: Serve)
    where
        Serve: Fn(Connection) -> Served + Send + 'static,
        Served: Future<Output = ()> + Send + 'static,
    {
        // Boxed, so that the handshake's state is not kept for as long as the connection lives.
        let served = Box::pin(self.begin(stream, peer, stop, serve)).await;
        if let Some(served) = served {
            served.await;
        }
    }

    async fn begin<Serve, Served>(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        stop: CancellationToken,
        serve: Serve,
    ) -> Option<Served>
    where
        Serve: Fn(Connection) -> Served + Send + 'static,
        Served: Future<Output = ()> + Send + 'static,
    {
        tokio::select! {
            connection = self.connect(stream, peer) => connection.map(serve),
            () = stop.cancelled() => None,
        }
    }

    async fn connect(&self, stream: TcpStream, peer: SocketAddr) -> Option<Connection> {
        let refusals = self.admissions.refusals();
        match time::timeout(self.handshake_time, self.shake_hands(stream, peer)).await {
            Ok(Ok(connection)) => Some(connection),
            Ok(Err(ConnectError::Refused(refusal))) => {
                refusals.count(refusal);
                debug!(listener = self.name, %peer, %refusal, "refused {peer}: {refusal}");
                None
            }
            Ok(Err(ConnectError::HandshakeFailed(error))) => {
                let refusal = refusal_of(&error);
                refusals.count(refusal);
                debug!(listener = self.name, %peer, %refusal, %error, "refused {peer}: {refusal}: {error}");
                None
            }
            Ok(Err(ConnectError::GoneUnheard)) => None,
            Err(_elapsed) => {
                refusals.count(Refusal::HandshakeTimeout);
                debug!(listener = self.name, %peer, "no handshake of {peer} within {:?}", self.handshake_time);
                None
            }
        }
    }

    async fn shake_hands(&self, mut stream: TcpStream, peer: SocketAddr) -> Result<Connection, ConnectError> {
        let mut peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        if self.proxies.contains(peer.ip()) {
            let waiting = self.admissions.admit(None)?;
            let source = proxy_protocol::read_source(&mut stream).await;
            waiting.forgive();
            match source {
                Ok(source) => peer = source.unwrap_or(peer),
                Err(proxy_protocol::ProxyHeaderError::Io(_)) => return Err(ConnectError::GoneUnheard),
                Err(_) => return Err(Refusal::ProxyHeader.into()),
            }
        }
        let admission = self.admissions.admit(Some(peer.ip()))?;
        // A PUBACK is a packet of its own that somebody waits for.
        let _ = stream.set_nodelay(true);
        if self.kernel_keeps_alive {
            // A connection without it works, too.
            let _ = keep_alive(&stream);
        }
        let stream = self.encrypt(Metered::new(stream, admission.clone())).await?;
        Ok(Connection { stream, peer, admission })
    }

    async fn encrypt(&self, stream: Metered<TcpStream>) -> Result<Stream, ConnectError> {
        let admission = stream.admission().clone();
        let failed = |error: io::Error| {
            if admission.has_spoken() {
                return ConnectError::HandshakeFailed(error);
            }
            admission.forgive();
            ConnectError::GoneUnheard
        };
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(failed)?;
        let known = self.names.accept(start.client_hello().server_name());
        let encrypted = start.into_stream(Arc::clone(&self.tls)).await;
        if known { encrypted.map_err(failed) } else { Err(Refusal::UnknownServerName.into()) }
    }

    /// A failed accept is the peer's affair (it went away) or the machine's (no descriptors left); the hub goes on either way.
    async fn pause(&self, error: &io::Error) {
        let exhausted = matches!(error.raw_os_error(), Some(code) if code == rustix::io::Errno::MFILE.raw_os_error() || code == rustix::io::Errno::NFILE.raw_os_error());
        if exhausted {
            warn!(listener = self.name, %error, "no file descriptor left for new connections on {}: raise the limit (ulimit -n)", self.name);
            time::sleep(ACCEPT_PAUSE).await;
        }
    }

    fn note(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended {
            tracing::error!(listener = self.name, %error, "a connection's task on {} died", self.name);
        }
    }
}

/// Ends a connection whose client is gone, or takes nothing.
fn keep_alive(stream: &TcpStream) -> rustix::io::Result<()> {
    use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle, set_tcp_keepintvl, set_tcp_user_timeout};
    set_socket_keepalive(stream, true)?;
    set_tcp_keepidle(stream, KEEP_ALIVE_AFTER)?;
    set_tcp_keepintvl(stream, KEEP_ALIVE_AFTER / 2)?;
    set_tcp_user_timeout(stream, u32::try_from(NOTHING_TAKEN_MAX.as_millis()).unwrap_or(u32::MAX))
}

/// Of a client that had begun to speak.
fn refusal_of(error: &io::Error) -> Refusal {
    match error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => Refusal::ClientCertificate,
        _ => Refusal::HandshakeFailed,
    }
}

enum ConnectError {
    Refused(Refusal),
    /// By TLS, which says why.
    HandshakeFailed(io::Error),
    /// It was closed before it said a word: nobody's failure.
    GoneUnheard,
}

impl From<Refusal> for ConnectError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;
    use tokio_rustls::TlsConnector;

    use super::super::admission::StrangerLimits;
    use super::super::certificate::{CertificateFiles, ReloadingCertificate};
    use super::super::tls::{ClientCertificate, server_config};
    use super::*;
    use crate::core::time::{Clock, UnixMillis};

    const LIMITS: StrangerLimits = StrangerLimits {
        connections: 100,
        unfinished: 100,
        unfinished_per_address: 50,
        failed_per_address: 50,
        failed_per_address_per_second: 1,
        bytes_before_authentication: 20_000,
    };

    struct StoppedClock;

    impl Clock for StoppedClock {
        fn now(&self) -> UnixMillis {
            UnixMillis(0)
        }
    }

    /// A listener that says who came, reads everything, and repeats it.
    struct Rig {
        address: SocketAddr,
        admissions: Arc<Admissions>,
        root: CertificateDer<'static>,
        stop: CancellationToken,
        done: JoinHandle<()>,
    }

    impl Rig {
        fn start(limits: StrangerLimits, proxies: &[&str], handshake_time: Duration) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let made = rcgen::generate_simple_self_signed(["hub.example".to_owned()]).unwrap();
            let files = CertificateFiles { certificate: folder.path().join("pem"), key: folder.path().join("key") };
            std::fs::write(&files.certificate, made.cert.pem()).unwrap();
            std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
            let certificate = ReloadingCertificate::load(files).unwrap();
            let names = ServerNames::only(["hub.example".to_owned()]);
            let tls = server_config(certificate, names.clone(), ClientCertificate::Requested, &["mqtt"]).unwrap();
            let admissions = Admissions::new(limits, Arc::new(StoppedClock));
            let proxies = ProxySources::new(proxies.iter().map(|network| network.parse().unwrap()).collect());
            let front =
                Front { name: "test", tls, names, admissions: Arc::clone(&admissions), proxies, handshake_time, kernel_keeps_alive: true };
            let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let address = listener.local_addr().unwrap();
            let stop = CancellationToken::new();
            let done = tokio::spawn(front.accept(listener, stop.clone(), |mut connection: Connection| async move {
                let hello = format!("{}\n", connection.peer.ip());
                let _ = connection.stream.write_all(hello.as_bytes()).await;
                let (mut reader, mut writer) = tokio::io::split(&mut connection.stream);
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            }));
            Self { address, admissions, root: made.cert.der().clone(), stop, done }
        }

        async fn client(
            &self,
            name: &'static str,
            config: ClientConfig,
            preface: &[u8],
        ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
            let mut tcp = TcpStream::connect(self.address).await?;
            tcp.write_all(preface).await?;
            let mut stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), tcp).await?;
            // In TLS 1.3 the client is done before the server is: only the server's word tells that it took the connection.
            let mut hello = vec![];
            while hello.last() != Some(&b'\n') {
                hello.push(stream.read_u8().await?);
            }
            Ok(stream)
        }

        fn config(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
            self.config_builder(versions).with_no_client_auth()
        }

        fn config_builder(
            &self,
            versions: &[&'static rustls::SupportedProtocolVersion],
        ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
            let mut roots = RootCertStore::empty();
            roots.add(self.root.clone()).unwrap();
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_protocol_versions(versions)
                .unwrap()
                .with_root_certificates(roots)
        }

        async fn stop(self) -> Arc<Admissions> {
            self.stop.cancel();
            self.done.await.unwrap();
            self.admissions
        }
    }

    #[tokio::test]
    async fn the_kernel_finds_out_who_is_gone() {
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        keep_alive(&stream).unwrap();
        use rustix::net::sockopt::{socket_keepalive, tcp_keepidle, tcp_user_timeout};
        assert!(socket_keepalive(&stream).unwrap());
        assert_eq!(tcp_keepidle(&stream).unwrap(), KEEP_ALIVE_AFTER);
        assert_eq!(tcp_user_timeout(&stream).unwrap(), 120_000);
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn both_versions_of_tls_with_and_without_a_client_certificate() {
        let rig = Rig::start(LIMITS, &[], MINUTE);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let mut stream = rig.client("hub.example", rig.config(&[version]), &[]).await.unwrap();
            stream.write_all(b"ping").await.unwrap();
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"ping");

            let own = rcgen::generate_simple_self_signed(["device".to_owned()]).unwrap();
            let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
            let config = rig.config_builder(&[version]).with_client_auth_cert(vec![own.cert.der().clone()], key).unwrap();
            rig.client("hub.example", config, &[]).await.unwrap();
        }
        assert!(rig.stop().await.refusals().iter().all(|(_, count)| count == 0));
    }

    #[tokio::test]
    async fn a_chain_is_taken_up_to_its_bounds() {
        let rig = Rig::start(LIMITS, &[], MINUTE);
        let own = rcgen::generate_simple_self_signed(["device".to_owned()]).unwrap();
        let large = CertificateDer::from(vec![0; 16 * 1024 + 1 - own.cert.der().len()]);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            for (links, taken) in
                [(vec![own.cert.der().clone(); 5], true), (vec![own.cert.der().clone(); 6], false), (vec![large.clone()], false)]
            {
                let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
                let presented = [own.cert.der().clone()].into_iter().chain(links).collect();
                let config = rig.config_builder(&[version]).with_client_auth_cert(presented, key).unwrap();
                assert_eq!(rig.client("hub.example", config, &[]).await.is_ok(), taken, "{version:?}");
            }
        }
        assert_eq!(rig.stop().await.refusals().of(Refusal::ClientCertificate), 4);
    }

    #[tokio::test]
    async fn a_certificate_that_is_none_is_refused_by_its_name() {
        let rig = Rig::start(LIMITS, &[], MINUTE);
        let own = rcgen::generate_simple_self_signed(["device".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["device".to_owned()]).unwrap();
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            for certificate in [CertificateDer::from(b"no certificate".to_vec()), other.cert.der().clone()] {
                let key =
                    rustls::crypto::aws_lc_rs::sign::any_supported_type(&PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap());
                // Not asked by the client whether the key is that certificate's.
                let presented = Arc::new(rustls::sign::CertifiedKey::new(vec![certificate], key.unwrap()));
                let config =
                    rig.config_builder(&[version]).with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(presented)));
                assert!(rig.client("hub.example", config, &[]).await.is_err());
            }
        }
        assert_eq!(rig.stop().await.refusals().of(Refusal::ClientCertificate), 4);
    }

    /// A resumed session would bring a certificate whose key was proved some connections ago.
    #[tokio::test]
    async fn no_session_is_resumed() {
        let rig = Rig::start(LIMITS, &[], MINUTE);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            // Its clones share what they remember.
            let config = rig.config(&[version]);
            for _ in 0..2 {
                let stream = rig.client("hub.example", config.clone(), &[]).await.unwrap();
                assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full), "{version:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_client_with_the_wrong_application_protocol_is_told_so() {
        let rig = Rig::start(LIMITS, &[], MINUTE);
        let mut config = rig.config(rustls::ALL_VERSIONS);
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        assert_eq!(rig.client("hub.example", config.clone(), &[]).await.unwrap().get_ref().1.alpn_protocol(), Some(&b"mqtt"[..]));
        config.alpn_protocols = vec![b"h2".to_vec()];
        let error = rig.client("hub.example", config, &[]).await.unwrap_err();
        assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
        assert_eq!(rig.stop().await.refusals().of(Refusal::HandshakeFailed), 1);
    }

    #[tokio::test]
    async fn a_client_that_looks_for_another_host_is_refused() {
        let rig = Rig::start(LIMITS, &[], MINUTE);
        let error = rig.client("other.example", rig.config(rustls::ALL_VERSIONS), &[]).await.unwrap_err();
        assert!(error.to_string().contains("AccessDenied"), "{error}");
        let admissions = rig.stop().await;
        assert_eq!(admissions.refusals().of(Refusal::UnknownServerName), 1);
        assert_eq!(admissions.refusals().of(Refusal::HandshakeFailed), 0);
    }

    #[tokio::test]
    async fn who_says_nothing_is_cut_off() {
        let rig = Rig::start(LIMITS, &[], Duration::from_millis(20));
        let mut silent = TcpStream::connect(rig.address).await.unwrap();
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0, "the end comes from the hub");
        assert_eq!(rig.stop().await.refusals().of(Refusal::HandshakeTimeout), 1);
    }

    #[tokio::test]
    async fn who_sends_too_much_without_authenticating_is_cut_off() {
        let rig = Rig::start(LIMITS, &[], MINUTE);
        let mut stream = rig.client("hub.example", rig.config(rustls::ALL_VERSIONS), &[]).await.unwrap();
        // The hub closes while bytes are on their way, so writing may fail as well.
        let _ = stream.write_all(&[0; 40_000]).await;
        assert!(stream.read_to_end(&mut Vec::new()).await.is_err(), "cut off without a farewell");
        assert_eq!(rig.stop().await.refusals().of(Refusal::TooManyBytes), 1);
    }

    #[tokio::test]
    async fn a_believed_proxy_has_to_tell_whose_connection_it_is() {
        let rig = Rig::start(LIMITS, &["127.0.0.0/8"], MINUTE);
        let mut preface = ppp::v2::PROTOCOL_PREFIX.to_vec();
        preface.extend([0x21, 0x11, 0, 12, 192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x22, 0xb3]);
        let mut tcp = TcpStream::connect(rig.address).await.unwrap();
        tcp.write_all(&preface).await.unwrap();
        let connector = TlsConnector::from(Arc::new(rig.config(rustls::ALL_VERSIONS)));
        let mut stream = connector.connect(ServerName::try_from("hub.example").unwrap(), tcp).await.unwrap();
        let mut hello = [0; 10];
        stream.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"192.0.2.7\n");
        rig.client("hub.example", rig.config(rustls::ALL_VERSIONS), &[]).await.unwrap_err();
        drop(stream);
        assert_eq!(rig.stop().await.refusals().of(Refusal::ProxyHeader), 1);
    }

    #[tokio::test]
    async fn from_anybody_else_a_proxy_header_is_garbage() {
        let rig = Rig::start(LIMITS, &["192.0.2.0/24"], MINUTE);
        let mut preface = ppp::v2::PROTOCOL_PREFIX.to_vec();
        preface.extend([0x20, 0, 0, 0]);
        rig.client("hub.example", rig.config(rustls::ALL_VERSIONS), &preface).await.unwrap_err();
        assert_eq!(rig.stop().await.refusals().of(Refusal::HandshakeFailed), 1);
    }

    #[tokio::test]
    async fn an_address_with_too_many_failures_is_shut_out() {
        let rig = Rig::start(StrangerLimits { failed_per_address: 2, ..LIMITS }, &[], MINUTE);
        for _ in 0..2 {
            rig.client("other.example", rig.config(rustls::ALL_VERSIONS), &[]).await.unwrap_err();
        }
        // The client hears of its failure a moment before the hub has written it down.
        while rig.admissions.connections() > 0 {
            tokio::task::yield_now().await;
        }
        rig.client("hub.example", rig.config(rustls::ALL_VERSIONS), &[]).await.unwrap_err();
        assert_eq!(rig.stop().await.refusals().of(Refusal::TooManyFailedOfAddress), 1);
    }

    #[tokio::test]
    async fn a_port_that_can_not_be_had_says_what_to_do() {
        let taken = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(address).unwrap_err().to_string();
        assert!(error.contains(&format!("port {} on 127.0.0.1 is in use", address.port())), "{error}");
        let error = bind("192.0.2.1:8883".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("192.0.2.1 is no address of this machine"), "{error}");
    }
}
