//! Reading from a socket into a buffer that an idle connection need not have, and writing to it.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

/// The most that one read takes, in bytes: what one TLS record can hold. It is on the stack, so that idle connections need no buffer.
const READ_MAX_BYTES: usize = 16 * 1024;

/// Appends what one read gives to `input`, and says how much that was; 0 is the end.
///
/// # Errors
/// As the stream says.
pub async fn read_some<S: AsyncRead + Unpin>(stream: &mut S, input: &mut impl BufMut) -> io::Result<usize> {
    poll_fn(|context| {
        let mut memory = [MaybeUninit::uninit(); READ_MAX_BYTES];
        let mut buffer = ReadBuf::uninit(&mut memory);
        task::ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
        input.put_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
    .await
}

/// Writes all of it, and sees to it that nothing stays in a buffer on the way.
///
/// # Errors
/// As the stream says; then it is not known how much was written.
pub async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Writes all of it like [`write`], as long as the stream takes some of it within each `progress_within`: a slow peer is waited for, one that
/// takes nothing is not.
///
/// # Errors
/// As the stream says, and [`io::ErrorKind::TimedOut`]; then it is not known how much was written.
pub async fn write_with_progress<S: AsyncWrite + Unpin>(stream: &mut S, mut bytes: &[u8], progress_within: Duration) -> io::Result<()> {
    while !bytes.is_empty() {
        match timeout(progress_within, stream.write(bytes)).await?? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            taken => bytes = &bytes[taken..],
        }
    }
    timeout(progress_within, stream.flush()).await?
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, duplex};
    use tokio::time::sleep;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_is_waited_for_and_one_that_takes_nothing_is_not() {
        let (mut near, mut far) = duplex(10);
        let reader = tokio::spawn(async move {
            let mut taken = [0; 5];
            for _ in 0..20 {
                sleep(WITHIN - Duration::from_secs(1)).await;
                far.read_exact(&mut taken).await.unwrap();
            }
            far
        });
        write_with_progress(&mut near, &[7; 100], WITHIN).await.unwrap();
        let _far = reader.await.unwrap();
        write_with_progress(&mut near, &[7; 10], WITHIN).await.unwrap();
        let error = write_with_progress(&mut near, &[7; 1], WITHIN).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
