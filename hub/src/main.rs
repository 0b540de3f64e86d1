//! The program `mooring-hub`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mooring_hub::cli::run()
}
