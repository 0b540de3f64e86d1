//! libFuzzer with one of the targets, which `MOORING_FUZZ` names. With `MOORING_FUZZ_SEEDS`, writes the target's seeds into that folder first.

#![no_main]

use std::alloc::System;
use std::path::Path;
use std::sync::OnceLock;
use std::{env, fs, panic};

use cap::Cap;
use fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

/// What a run may hold beside what it was given, in bytes: the largest output of a connection twice over, and messages to send.
const ALLOWANCE_BYTES: usize = 4 * 1024 * 1024;

/// How many bytes a run may hold for each that it was given. A byte can be a value in a list, which takes 72.
const ALLOWANCE_FACTOR: usize = 200;

/// Fails an allocation beyond the allowance, which ends the process.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = env::var("MOORING_FUZZ").unwrap_or_default();
        let names = TARGETS.map(|target| target.name).join(", ");
        let target = TARGETS.into_iter().find(|target| target.name == name);
        let target = *TARGET.get_or_init(|| target.unwrap_or_else(|| panic!("MOORING_FUZZ is to be one of {names}, not {name:?}")));
        let hook = panic::take_hook();
        // Saying what has happened takes more than a run may have.
        panic::set_hook(Box::new(move |what| {
            MEMORY.set_limit(usize::MAX).expect("it is more than is held now");
            hook(what);
        }));
        if let Some(folder) = env::var_os("MOORING_FUZZ_SEEDS") {
            for (number, seed) in (target.seeds)().iter().enumerate() {
                fs::write(Path::new(&folder).join(format!("seed-{number:03}")), seed).expect("the folder for seeds can be written to");
            }
        }
    },
    |data: &[u8]| {
        let target = TARGET.get().expect("it was chosen at the beginning");
        let limit = MEMORY.allocated() + ALLOWANCE_BYTES + ALLOWANCE_FACTOR * data.len();
        MEMORY.set_limit(limit).expect("it is more than is held now");
        (target.run)(data);
        MEMORY.set_limit(usize::MAX).expect("it is more than is held now");
    }
);
