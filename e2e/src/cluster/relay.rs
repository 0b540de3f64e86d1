//! The API server, reached from a network that has no way out: connections go over a socket in the file system, which namespaces share.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::config::Kubeconfig;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::oneshot;

/// The half that is outside. It ends with this value.
pub struct Relay {
    server: SocketAddr,
    socket: PathBuf,
    _folder: TempDir,
    _end: oneshot::Sender<()>,
}

impl Relay {
    /// Listens, in the calling thread's network, for whoever wants to reach the API server of a kubeconfig.
    ///
    /// # Errors
    /// When the kubeconfig names no server by an address.
    pub fn to(kubeconfig: &Path) -> Result<Self> {
        let folder = TempDir::with_prefix("mooring-e2e-")?;
        let socket = folder.path().join("api-server");
        let server = address(kubeconfig)?;
        let (end, ended) = oneshot::channel();
        let listener = std::os::unix::net::UnixListener::bind(&socket)?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("relay".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = ended => {}
                    _ = outside(listener, server) => {}
                }
            });
        })?;
        Ok(Self { server, socket, _folder: folder, _end: end })
    }

    /// Listens, in the story's network, on the API server's own address.
    ///
    /// # Errors
    /// When somebody else does.
    pub async fn serve(&self) -> Result<()> {
        let listener = TcpListener::bind(self.server).await.with_context(|| format!("{} is taken", self.server))?;
        let socket = self.socket.clone();
        tokio::spawn(async move {
            while let Ok((inside, _)) = listener.accept().await {
                let socket = socket.clone();
                tokio::spawn(async move {
                    if let Ok(outside) = UnixStream::connect(socket).await {
                        join(inside, outside).await;
                    }
                });
            }
        });
        Ok(())
    }
}

async fn outside(listener: std::os::unix::net::UnixListener, server: SocketAddr) -> Result<()> {
    let listener = UnixListener::from_std(listener)?;
    loop {
        let (inside, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Ok(outside) = TcpStream::connect(server).await {
                join(inside, outside).await;
            }
        });
    }
}

/// Either side may end it, in any way.
async fn join(mut a: impl AsyncRead + AsyncWrite + Unpin, mut b: impl AsyncRead + AsyncWrite + Unpin) {
    let _ = copy_bidirectional(&mut a, &mut b).await;
}

/// The address in the kubeconfig's first cluster: the ring's own API server has one.
fn address(kubeconfig: &Path) -> Result<SocketAddr> {
    let text = Kubeconfig::read_from(kubeconfig)?;
    let server = text.clusters.first().and_then(|named| named.cluster.as_ref()).and_then(|cluster| cluster.server.clone());
    let server = server.context("the kubeconfig names no server")?;
    server.trim_start_matches("https://").parse().with_context(|| format!("{server} is no address"))
}
