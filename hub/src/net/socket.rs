//! Reading from a socket into a buffer that an idle connection need not have, and writing to it.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{self, Poll};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

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
