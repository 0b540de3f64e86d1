//! A stream that ends when a stranger has sent more than a stranger may. Never looks at the bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::admission::{Admission, TooManyBytes};
use super::refusals::Refusal;

/// `S`, cut off once the peer has used up its [`Admission`]'s bytes.
pub struct Metered<S> {
    stream: S,
    admission: Admission,
}

impl<S> Metered<S> {
    /// Holds `stream` to the limits of `admission`.
    pub fn new(stream: S, admission: Admission) -> Self {
        Self { stream, admission }
    }

    /// What it is held to.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let count = u32::try_from(buffer.filled().len() - before).unwrap_or(u32::MAX);
        match self.admission.spend(count) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(TooManyBytes) => {
                self.admission.refuse(Refusal::TooManyBytes);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::QuotaExceeded, TooManyBytes)))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncReadExt as _;

    use super::super::admission::{Admissions, StrangerLimits};
    use super::*;
    use crate::core::time::{Clock, UnixMillis};

    struct StoppedClock;

    impl Clock for StoppedClock {
        fn now(&self) -> UnixMillis {
            UnixMillis(0)
        }
    }

    fn admissions() -> Arc<Admissions> {
        let limits = StrangerLimits {
            connections: 1,
            unfinished: 1,
            unfinished_per_address: 1,
            failed_per_address: 1,
            failed_per_address_per_second: 1,
            bytes_before_authentication: 10,
        };
        Admissions::new(limits, Arc::new(StoppedClock))
    }

    #[tokio::test]
    async fn a_stranger_may_send_so_much_and_no_more() {
        let admissions = admissions();
        let admission = admissions.admit(None).ok().unwrap();
        let mut stream = Metered::new(&[0u8; 12][..], admission);
        stream.read_exact(&mut [0; 10]).await.unwrap();
        let error = stream.read_exact(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        assert_eq!(admissions.refusals().of(Refusal::TooManyBytes), 1);
    }

    #[tokio::test]
    async fn who_has_authenticated_sends_what_it_likes() {
        let admission = admissions().admit(None).ok().unwrap();
        let mut stream = Metered::new(&[0u8; 1000][..], admission);
        stream.read_exact(&mut [0; 10]).await.unwrap();
        stream.admission().authenticated();
        stream.read_exact(&mut [0; 990]).await.unwrap();
    }
}
