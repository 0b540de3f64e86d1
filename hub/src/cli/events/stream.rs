//! Server-sent events, as far as our hub writes them: lines of `field: value`, blocks ended by an empty line.

use anyhow::{Result, ensure};

/// The longest block: an event of 256 KiB in Base64 and as escaped text, with room to spare.
const BLOCK_MAX_BYTES: usize = 8 * 1024 * 1024;

/// A block. One without data makes no event, but its id counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Block {
    pub(in crate::cli) event: String,
    pub(in crate::cli) id: Option<String>,
    pub(in crate::cli) data: Option<String>,
}

/// Cuts a stream into blocks, however it comes in pieces.
#[derive(Debug, Default)]
pub(in crate::cli) struct Blocks {
    unread: Vec<u8>,
    /// How much of `unread` is known to hold no end.
    searched: usize,
}

impl Blocks {
    /// The blocks that `piece` completes.
    pub(in crate::cli) fn push(&mut self, piece: &[u8]) -> Result<Vec<Block>> {
        self.unread.extend_from_slice(piece);
        let mut blocks = Vec::new();
        let mut start = 0;
        while let Some(end) = self.unread[self.searched..].windows(2).position(|pair| pair == b"\n\n") {
            let end = self.searched + end;
            blocks.push(parse(&String::from_utf8_lossy(&self.unread[start..end])));
            start = end + 2;
            self.searched = start;
        }
        self.unread.drain(..start);
        self.searched = self.unread.len().saturating_sub(1);
        ensure!(self.unread.len() <= BLOCK_MAX_BYTES, "the hub sent an event that does not end");
        Ok(blocks)
    }
}

fn parse(text: &str) -> Block {
    let mut block = Block::default();
    for line in text.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => block.event = value.to_owned(),
            "id" => block.id = Some(value.to_owned()),
            "data" => match &mut block.data {
                Some(data) => *data = format!("{data}\n{value}"),
                data => *data = Some(value.to_owned()),
            },
            _ => {}
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_give_the_same_blocks() {
        let text = b"retry: 2000\n:\nid: 0:-1\n\nevent: message\nid: 0:0\ndata: {\"a\":\ndata: 1}\n\n:\n\nevent: message\ndata";
        let block = |event: &str, id: Option<&str>, data: Option<&str>| Block {
            event: event.to_owned(),
            id: id.map(str::to_owned),
            data: data.map(str::to_owned),
        };
        let expected = [block("", Some("0:-1"), None), block("message", Some("0:0"), Some("{\"a\":\n1}")), block("", None, None)];
        for size in 1..text.len() {
            let mut blocks = Blocks::default();
            let seen: Vec<_> = text.chunks(size).flat_map(|piece| blocks.push(piece).unwrap()).collect();
            assert_eq!(seen, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_block_without_an_end_is_not_kept_for_ever() {
        let mut blocks = Blocks::default();
        assert!((0..9).try_for_each(|_| blocks.push(&vec![b'x'; 1024 * 1024]).map(drop)).is_err());
    }
}
