//! What strangers' bytes are thrown at, and what must hold whatever they are: nobody panics, nothing grows beyond what it was given,
//! and what the hub says in return can be read.
//!
//! A target is a function of bytes. libFuzzer looks for bytes that reach new code (`fuzz.sh`); the tests here run the seeds and everything
//! that was once found. Uses the hub as its own edges do, through what is public anyway.

pub mod engine;
pub mod judge;
pub mod messages;
pub mod packets;
pub mod seeds;
pub mod texts;

/// A function that must hold its promises for every input.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called by.
    pub name: &'static str,
    /// Panics when a promise is broken.
    pub run: fn(&[u8]),
    /// What it begins with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 5] = [
    Target { name: "amqp-engine", run: engine::conversation, seeds: seeds::conversations },
    Target { name: "amqp-frames", run: engine::frame, seeds: seeds::frames },
    Target { name: "amqp-messages", run: messages::delivery, seeds: seeds::deliveries },
    Target { name: "mqtt-packets", run: packets::stream, seeds: seeds::packets },
    Target { name: "texts", run: texts::text, seeds: seeds::texts },
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_seed_is_good() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{} begins with nothing", target.name);
            seeds.iter().for_each(|seed| (target.run)(seed));
        }
    }

    #[test]
    fn nothing_that_was_found_comes_back() {
        for target in TARGETS {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions").join(target.name);
            for file in fs::read_dir(&folder).into_iter().flatten() {
                (target.run)(&fs::read(file.unwrap().path()).unwrap());
            }
        }
    }
}
