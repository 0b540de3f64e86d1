//! The program `mooring-operator`.

use clap::Parser as _;
use mooring_operator::cli::Options;
use mooring_operator::{logs, run};

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    logs::start(options.log_format, &options.log_filter)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run::run(options))?;
    Ok(())
}
