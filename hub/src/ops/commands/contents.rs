//! Contents of commands that may be handed out soon, so that a device that is awake costs no read. Bounded in bytes.

use bytes::Bytes;
use lru::LruCache;

use crate::core::command::CommandId;

/// The most that is kept, in bytes of contents: the commands of some thousand devices that are awake.
const KEPT_MAX_BYTES: usize = 64 << 20;

/// What an entry costs beside its content, in bytes: a command without a payload is not free.
const ENTRY_BYTES: usize = 128;

/// The cache.
pub(super) struct Contents {
    kept: LruCache<CommandId, Bytes>,
    bytes: usize,
}

impl Default for Contents {
    fn default() -> Self {
        // Unbounded in form, so that nothing is allocated ahead; `put` keeps the bound.
        Self { kept: LruCache::unbounded(), bytes: 0 }
    }
}

impl Contents {
    pub(super) fn get(&mut self, id: CommandId) -> Option<Bytes> {
        self.kept.get(&id).cloned()
    }

    pub(super) fn put(&mut self, id: CommandId, content: Bytes) {
        self.bytes += ENTRY_BYTES + content.len();
        if let Some(former) = self.kept.put(id, content) {
            self.bytes -= ENTRY_BYTES + former.len();
        }
        while self.bytes > KEPT_MAX_BYTES
            && let Some((_, least_used)) = self.kept.pop_lru()
        {
            self.bytes -= ENTRY_BYTES + least_used.len();
        }
    }

    pub(super) fn remove(&mut self, id: CommandId) {
        if let Some(content) = self.kept.pop(&id) {
            self.bytes -= ENTRY_BYTES + content.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_used_make_room() {
        let mut contents = Contents::default();
        let large = Bytes::from(vec![0; KEPT_MAX_BYTES / 3]);
        for id in 0..2 {
            contents.put(CommandId(id), large.clone());
        }
        assert!(contents.get(CommandId(0)).is_some());
        contents.put(CommandId(2), large.clone());
        assert!(contents.get(CommandId(1)).is_none(), "it was used least");
        assert!(contents.get(CommandId(0)).is_some() && contents.get(CommandId(2)).is_some());
        contents.put(CommandId(2), large);
        contents.remove(CommandId(2));
        contents.remove(CommandId(0));
        assert_eq!(contents.bytes, 0);
    }
}
